import { OutgoingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'

// As they are when this package is loaded. A response with other functions, as of middleware, is written to through those.
const { write } = OutgoingMessage.prototype
const { write: writeToSocket } = Socket.prototype

const size = 131_072

/**
 * Memory for bytes that are about to be written. A new buffer for each write would be garbage outside the heap of V8, which answers
 * such garbage with collections of the whole heap: a third of the cost of an answer of 100 kB.
 */
let memory = Buffer.allocUnsafeSlow(size)
/** The bytes before this place wait for their clients. */
let used = 0

/**
 * Whether bytes that are used again can be written to a response by {@link writeBorrowed}: all of its functions are node:http's
 * own.
 */
export function takesBorrowed(res: object): res is ServerResponse {
  return (
    res instanceof ServerResponse &&
    res.write === write &&
    res.writableCorked === 0 &&
    !res.writableEnded &&
    res.socket instanceof Socket &&
    res.socket.write === writeToSocket
  )
}

/**
 * Writes bytes that are the caller's again after the call.
 *
 * The memory of the copy is used again when the socket's buffer is empty behind the write: the kernel has then taken all bytes, and
 * does not read them again.
 *
 * @returns Whether the response has room.
 */
export function writeBorrowed(res: ServerResponse, bytes: Uint8Array): boolean {
  const { socket } = res
  if (res.destroyed || socket === null) return false
  // Bytes that wait for a slow client must not keep the memory of all others.
  if (socket.writableLength > 0 || bytes.length > size) return write.call(res, Buffer.from(bytes), 'latin1')
  if (bytes.length > size - used) {
    memory = Buffer.allocUnsafeSlow(size)
    used = 0
  }
  memory.set(bytes, used)
  // Otherwise node:http would cork the socket until the end of the turn.
  socket.cork()
  const hasRoom = write.call(res, memory.subarray(used, used + bytes.length), 'latin1')
  socket.uncork()
  const hasGone = socket.writableLength === 0
  if (!hasGone) used += bytes.length
  return hasRoom || hasGone
}
