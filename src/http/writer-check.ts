import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import debug from 'debug'
import { asError } from '../errors.ts'
import { ChunkedWriter } from './chunked-writer.ts'

/** A socket without a connection, which keeps what is written to it. */
class MemorySocket extends Socket {
  readonly #chunks: Buffer[] = []

  get text(): string {
    return Buffer.concat(this.#chunks).toString('latin1')
  }

  override _write(chunk: Uint8Array, _: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#chunks.push(Buffer.from(chunk))
    callback()
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer | string; readonly encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    for (const { chunk, encoding } of chunks) {
      this.#chunks.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk))
    }
    callback()
  }
}

/** What node:http writes for the calls of {@link writtenBody}. */
const expected =
  '1\r\na\r\nb\r\n0123456789a\r\n5\r\nagain\r\n5\r\nagain\r\n3\r\nown\r\n0\r\ntrailer: yes\r\n\r\n'

/** Writes a body, half through a {@link ChunkedWriter} and half as documented. */
function writtenBody(): string {
  const socket = new MemorySocket()
  const request = new IncomingMessage(socket)
  request.httpVersionMajor = 1
  request.httpVersionMinor = 1
  const res = new ServerResponse(request)
  res.assignSocket(socket)
  res.flushHeaders()
  const { length } = socket.text
  if (!ChunkedWriter.suits(res)) return 'not a response of node:http'
  const rooms: boolean[] = []
  const writer = new ChunkedWriter(res, (hasRoom) => rooms.push(hasRoom))
  writer.write(Buffer.from('a'))
  writer.write(Buffer.from('0123456789a'))
  writer.flush()
  const shared = Buffer.from('again')
  writer.writeShared(shared)
  writer.writeShared(shared)
  res.addTrailers({ trailer: 'yes' })
  res.end('own')
  socket.destroy()
  const body = socket.text.slice(length)
  return rooms.join() === 'true,true,true' ? body : `no room after ${body}`
}

let isProven: boolean | undefined

/**
 * Whether {@link ChunkedWriter} writes on this version of Node what node:http writes. The first call tries it out, without a
 * connection.
 */
export function isWriterProven(): boolean {
  isProven ??= check()
  return isProven
}

function check(): boolean {
  let written: string
  try {
    written = writtenBody()
  } catch (error) {
    written = asError(error).message
  }
  if (written === expected) return true
  debug('resilient-sse:fast-path')(
    'node:http frames all responses, because the chunks of this package came out as %j',
    written,
  )
  return false
}
