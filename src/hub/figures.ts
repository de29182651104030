import type { HubFigures } from '../diagnostics.ts'
import type { SharedStream } from './stream.ts'

/** Counts the streams of a hub and their clients, for each option `name`. */
export function figuresOf(streams: Iterable<SharedStream>): readonly HubFigures[] {
  const found = new Map<string | undefined, SharedStream[]>()
  for (const stream of streams) {
    const { name } = stream.options
    const same = found.get(name)
    if (same) same.push(stream)
    else found.set(name, [stream])
  }
  return Array.from(found, ([name, same]) => {
    const owner = same.filter(({ ownership }) => ownership.isOwner).length
    return {
      name,
      streams: { owner, follower: same.length - owner },
      clients: same.reduce((sum, { members }) => sum + members.size, 0),
      catchingUp: same.reduce((sum, { log }) => sum + log.readersBehind, 0),
    }
  })
}
