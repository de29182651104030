import type { Duplex } from 'node:stream'

const CR = 13
const LF = 10

/**
 * Gives bytes of a socket to node:http's parser, which listens while a request has the socket. Other bytes than line ends close a
 * socket without a request: a response that comes without a request must not answer the next request.
 *
 * @param bytes - Are copied, because node:http may keep them: those of a malformed message are in its error.
 */
export function feed(socket: Duplex, bytes: Buffer): void {
  if (bytes.length === 0 || socket.destroyed) return
  if (socket.listenerCount('data') > 0) socket.emit('data', Buffer.from(bytes))
  else if (bytes.some((byte) => byte !== CR && byte !== LF)) socket.destroy()
}

/** Where node:http's parser has the function that it calls for a part of a body. */
const bodyIndex = 3

/**
 * Lets node:http's parser count bytes within a body, without a copy. The parser must have no reason to keep them: it may not find an
 * error in them.
 *
 * What Node does not document: the parser copies a part of a body for its function, and does not without this function. Such copies are
 * garbage outside the heap of V8. A parser that is made otherwise calls its function, as does one of Node 26 that has called it before,
 * and the response gets the copy.
 */
export function lend(socket: Duplex, bytes: Buffer): void {
  if (bytes.length === 0 || socket.destroyed || socket.listenerCount('data') === 0) return
  const parser: unknown = Reflect.get(socket, 'parser')
  if (hasBodyFunction(parser)) {
    const { [bodyIndex]: onBody } = parser
    parser[bodyIndex] = undefined
    try {
      socket.emit('data', bytes)
    } finally {
      // Also when the body is over: Node uses the parser again for another connection.
      parser[bodyIndex] = onBody
    }
  } else socket.emit('data', bytes)
}

function hasBodyFunction(parser: unknown): parser is { [bodyIndex]: unknown } {
  if (typeof parser !== 'object' || parser === null || !(bodyIndex in parser)) return false
  return typeof parser[bodyIndex] === 'function' && parser[bodyIndex].name === 'parserOnBody'
}
