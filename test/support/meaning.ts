import { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  createResilientSseSource,
  type SseEvent,
  type UpstreamContext,
  type UpstreamFactory,
} from '../../src/index.ts'
import { drain, fast } from './events.ts'
import { chunksOf, type Item, itemsOf, plain } from './model.ts'

/** What a stream says: blocks with data or an id, comments, and the last event ID that it leaves behind. */
export interface Meaning {
  readonly blocks: readonly SseEvent[]
  readonly comments?: readonly string[]
  readonly lastEventId?: string
}

/** A stream of these chunks, and on the next attempt the word that there is no more; notes what attempts are told. */
function onceThenNoMore(chunks: readonly Buffer[], told: UpstreamContext[]): UpstreamFactory {
  return async (context) => {
    told.push(context)
    if (told.length > 1) return { statusCode: 204, headers: {}, body: Readable.from([]) }
    return Readable.from(chunks)
  }
}

/** Reads bytes as object mode and as byte mode do, whole and byte by byte. */
async function expectMeaning(stream: string | Uint8Array, meaning: Meaning): Promise<void> {
  const bytes = Buffer.from(stream)
  const { blocks, comments = [], lastEventId = '' } = meaning
  for (const [chunking, chunks] of [
    ['whole', [bytes]],
    ['byte by byte', chunksOf(bytes, 'everywhere')],
  ] as const) {
    const told: UpstreamContext[] = []
    const heard: string[] = []
    const source = createResilientSseSource(onceThenNoMore(chunks, told), {
      objectMode: true,
      reconnect: fast,
    }).on('comment', (text) => heard.push(text))
    const events = await drain(source)
    expect(events.error).to.equal(undefined)
    expect(events.chunks.map(plain), `events, ${chunking}`).to.deep.equal(blocks)
    expect(heard, `comments, ${chunking}`).to.deep.equal(comments)
    expect(source.lastEventId, `lastEventId, ${chunking}`).to.equal(lastEventId)
    expect(told[1]?.lastEventId, `lastEventId of the next attempt, ${chunking}`).to.equal(lastEventId)

    const factory = onceThenNoMore(chunks, [])
    const out = await drain(createResilientSseSource(factory, { reconnect: fast }))
    expect(out.error).to.equal(undefined)
    expect(meaningOf(Buffer.concat(out.chunks)), `bytes, ${chunking}`).to.deep.equal({ blocks, comments })
  }
}

export function meaningOf(bytes: Buffer): Meaning {
  const items: Item[] = itemsOf(bytes)
  return {
    blocks: items.flatMap((item) => ('block' in item ? [item.block] : [])),
    comments: items.flatMap((item) => ('comment' in item ? [item.comment] : [])),
  }
}

export type Case = readonly [name: string, stream: string | Uint8Array, meaning: Meaning]

export function each(cases: readonly Case[]): void {
  for (const [name, stream, meaning] of cases) it(name, () => expectMeaning(stream, meaning))
}

export const data = (...values: string[]): Meaning => ({ blocks: values.map((value) => ({ data: value })) })
export const nothing: Meaning = { blocks: [] }
export const mark = Buffer.from([0xef, 0xbb, 0xbf])
export const withBytes = (...parts: (string | readonly number[] | Buffer)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))))
