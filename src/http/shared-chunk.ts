import { chunkOf, emptyChunkOf } from './chunk-frame.ts'

/** Larger bytes have one chunk for all responses. The chunk of smaller bytes is shared for a turn of the event loop only. */
export const mostGathered = 16_384

/**
 * The chunks of large bytes that are written to many responses. They outlive the turn: 10,000 clients that come back read the same
 * pages, each when it has room, and 64 kB for each of them would be 640 MB.
 */
const chunks = new WeakMap<Uint8Array, Buffer>()

/** The latest large bytes and their chunk: one client after another gets the same ones. */
let latestBytes: Uint8Array | undefined
let latestChunk: Buffer | undefined

/** The chunk of large bytes that never change: the same one each time. */
export function sharedChunkOf(bytes: Uint8Array): Buffer {
  if (latestChunk === undefined || bytes !== latestBytes) {
    latestBytes = bytes
    latestChunk = chunks.get(bytes) ?? chunkOf(bytes)
    chunks.set(bytes, latestChunk)
  }
  return latestChunk
}

/** Memory for bytes that will be written to many responses. Large ones lie within their chunk, which then needs no memory of its own. */
export function memoryForMany(size: number): Buffer {
  if (size <= mostGathered) return Buffer.allocUnsafe(size)
  const { chunk, data } = emptyChunkOf(size)
  chunks.set(data, chunk)
  return data
}

/** Joins bytes that will be written to many responses. */
export function joinedForMany(parts: readonly Uint8Array[]): Buffer {
  const joined = memoryForMany(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}
