import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import fc from 'fast-check'
import type { ByteStream, Upstream } from '../../src/index.ts'

// Bodies without a network: a case takes less than a millisecond, and a network does not merge or split chunks.

/** The kind of stream that carries an upstream's bytes. */
export type BodyKind = 'generator' | 'readable' | 'web'

/** What a body does after its last chunk. */
export type BodyEnd = 'end' | 'reset' | 'stay'

/** A bare stream, and whether it was released: read to its end, failed, or closed. */
export interface Body {
  readonly stream: ByteStream
  readonly released: () => boolean
}

export const bodyKinds: fc.Arbitrary<BodyKind> = fc.constantFrom('generator', 'readable', 'web')

/** An upstream that answers 204. */
export const noContent = (): Upstream => ({ statusCode: 204, headers: {}, body: Readable.from([]) })

/**
 * Makes a body that yields these chunks and then ends. Each chunk is read before the next step, so that a reset does not
 * discard earlier chunks.
 */
export function bodyOf(chunks: readonly unknown[], kind: BodyKind, end: BodyEnd): Body {
  // A generator that waits for ever cannot be closed, and a web stream that fails discards its unread chunks.
  if (end === 'stay' || (end === 'reset' && kind === 'web')) return readableBody(chunks, end)
  if (kind === 'web') return webBody(chunks)
  return kind === 'generator' ? generatorBody(chunks, end) : readableBody(chunks, end)
}

function readableBody(chunks: readonly unknown[], end: BodyEnd): Body {
  const rest = [...chunks]
  const body = new Readable({
    objectMode: true,
    highWaterMark: 1,
    read() {
      if (rest.length > 0) this.push(rest.shift())
      else if (end === 'end') this.push(null)
      else if (end === 'reset') process.nextTick(() => this.destroy(new Error('reset')))
    },
  })
  return { stream: body, released: () => body.destroyed }
}

function generatorBody(chunks: readonly unknown[], end: BodyEnd): Body {
  let started = false
  let over = false
  async function* generate() {
    started = true
    try {
      yield* chunks
      if (end === 'reset') throw new Error('reset')
    } finally {
      over = true
    }
  }
  // Object mode, because some tests pass chunks that are not bytes.
  const body = Readable.from(generate(), { objectMode: true, highWaterMark: 1 })
  return { stream: body, released: () => over || (!started && body.destroyed) }
}

function webBody(chunks: readonly unknown[]): Body {
  const rest = [...chunks]
  let over = false
  const body = new ReadableStream(
    {
      pull(controller) {
        if (rest.length > 0) {
          controller.enqueue(rest.shift())
        } else {
          over = true
          controller.close()
        }
      },
      cancel() {
        over = true
      },
    },
    { highWaterMark: 0 },
  )
  return { stream: body, released: () => over }
}

/** The same bytes as a chunk of another type; as a string only if the bytes are whole characters. */
export function chunkAs(
  type: 'buffer' | 'uint8array' | 'string',
  bytes: Buffer,
): Buffer | Uint8Array | string {
  if (type === 'buffer') return bytes
  if (type === 'string' && Buffer.from(bytes.toString()).equals(bytes)) return bytes.toString()
  // A view at an odd offset of a larger buffer.
  const memory = new Uint8Array(bytes.length + 8).fill(0x21)
  memory.set(bytes, 3)
  return memory.subarray(3, 3 + bytes.length)
}

export const chunkTypes = fc.constantFrom('buffer', 'uint8array', 'string')
