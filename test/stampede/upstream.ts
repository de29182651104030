// The upstream runs in a process of its own, so that each process has only one end of each connection and half of the files.
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import {
  type Answer,
  FlakyUpstream,
  Publisher,
  type ReceivedRequest,
  type Steps,
  wireOf,
} from '../support/flaky-upstream.ts'

const { values } = parseArgs({
  options: { streams: { type: 'string', default: '1' }, base: { type: 'string', default: '1000' } },
})
const streams = Number(values.streams)
const base = Number(values.base)

/** When the outage began, and the times of the connects since then, in milliseconds after its begin. */
let lostAt = performance.now()
let connects: number[] = []
/** The paths whose next request gets a 503. */
const refusing = new Set<string>()
const paths = new Set<string>()
/** Each stream has the same events. */
const publisher = new Publisher({ eventsPerSecond: 2000 / base })
const upstream = await new FlakyUpstream(answerTo).start()

process.on('message', (command) => {
  if (command === 'return') {
    upstream.comeBack()
    return
  }
  lostAt = performance.now()
  connects = []
  if (command === 'kill') upstream.leave()
  else if (command === 'end') upstream.loseAll({ how: 'end' })
  else if (command === 'unavailable') {
    for (const path of paths) refusing.add(path)
    upstream.loseAll({ how: 'reset at once' })
  }
})
process.send?.({ port: Number(new URL(upstream.url).port) })
await once(process, 'disconnect')
await upstream.close()

function answerTo({ path, lastEventId }: ReceivedRequest): Answer {
  paths.add(path)
  if (refusing.delete(path)) return { status: 503, headers: { 'retry-after-ms': String(3 * base) } }
  connects.push(performance.now() - lostAt)
  if (connects.length === streams) process.send?.({ connects })
  return { steps: stepsFrom(Number(lastEventId ?? 0) + 1) }
}

function* stepsFrom(next: number): Steps {
  for (;;) {
    for (; next <= publisher.latest; next++) yield wireOf(next)
    yield base / 4
  }
}
