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

/** The content of a stream: its blocks with data or an id, its comments, and the last event ID at its end. */
export interface Meaning {
  readonly blocks: readonly SseEvent[]
  readonly comments?: readonly string[]
  readonly lastEventId?: string
}

/** A factory that returns a stream of these chunks, and then a 204. Collects the contexts of its calls. */
function onceThenNoContent(chunks: readonly Buffer[], contexts: UpstreamContext[]): UpstreamFactory {
  return async (context) => {
    contexts.push(context)
    if (contexts.length > 1) return { statusCode: 204, headers: {}, body: Readable.from([]) }
    return Readable.from(chunks)
  }
}

/** Checks the content of a stream in object mode and in byte mode, in one chunk and byte by byte. */
async function expectMeaning(stream: string | Uint8Array, meaning: Meaning): Promise<void> {
  const bytes = Buffer.from(stream)
  const { blocks, comments = [], lastEventId = '' } = meaning
  for (const [chunking, chunks] of [
    ['whole', [bytes]],
    ['byte by byte', chunksOf(bytes, 'everywhere')],
  ] as const) {
    const contexts: UpstreamContext[] = []
    const emitted: string[] = []
    const source = createResilientSseSource(onceThenNoContent(chunks, contexts), {
      objectMode: true,
      reconnect: fast,
    }).on('comment', (text) => emitted.push(text))
    const events = await drain(source)
    expect(events.error).to.equal(undefined)
    expect(events.chunks.map(plain), `events, ${chunking}`).to.deep.equal(blocks)
    expect(emitted, `comments, ${chunking}`).to.deep.equal(comments)
    expect(source.lastEventId, `lastEventId, ${chunking}`).to.equal(lastEventId)
    expect(contexts[1]?.lastEventId, `lastEventId of the next attempt, ${chunking}`).to.equal(lastEventId)

    const factory = onceThenNoContent(chunks, [])
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
