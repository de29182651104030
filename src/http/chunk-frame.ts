/** The most bytes around the data of a chunk: eight digits and two line ends. */
export const mostFraming = 12

const CR = 13
const LF = 10

/**
 * Writes one chunk of the chunked coding (RFC 9112, 7.1) as node:http does: the size in lower-case hexadecimal digits, a line
 * end, the data, a line end.
 *
 * @param data - Not empty: an empty chunk would end the body.
 * @returns Where the chunk ends.
 */
export function putChunk(target: Uint8Array, start: number, data: Uint8Array): number {
  let at = putSize(target, start, data.length)
  target.set(data, at)
  at += data.length
  target[at] = CR
  target[at + 1] = LF
  return at + 2
}

/** Writes one chunk of text as {@link putChunk} does: `size` is the text's length in UTF-8, not 0. */
export function putTextChunk(target: Buffer, start: number, text: string, size: number): number {
  let at = putSize(target, start, size)
  at += target.write(text, at, size, 'utf8')
  target[at] = CR
  target[at + 1] = LF
  return at + 2
}

/** One chunk in memory of its own. */
export function chunkOf(data: Uint8Array): Buffer {
  const chunk = Buffer.allocUnsafeSlow(data.length + mostFraming)
  return chunk.subarray(0, putChunk(chunk, 0, data))
}

/**
 * A chunk in memory of its own, whose data is to be written into it.
 *
 * @param size - The number of bytes of data, not 0.
 */
export function emptyChunkOf(size: number): { readonly chunk: Buffer; readonly data: Buffer } {
  const memory = Buffer.allocUnsafeSlow(size + mostFraming)
  const start = putSize(memory, 0, size)
  const end = start + size
  memory[end] = CR
  memory[end + 1] = LF
  return { chunk: memory.subarray(0, end + 2), data: memory.subarray(start, end) }
}

function putSize(target: Uint8Array, start: number, size: number): number {
  let digits = 1
  for (let rest = size >>> 4; rest > 0; rest >>>= 4) digits++
  let rest = size
  for (let at = start + digits - 1; at >= start; at--) {
    const digit = rest & 15
    target[at] = digit < 10 ? 48 + digit : 87 + digit
    rest >>>= 4
  }
  target[start + digits] = CR
  target[start + digits + 1] = LF
  return start + digits + 2
}
