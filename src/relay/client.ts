import { EventEmitter } from 'node:events'

const waiting = new WeakMap<EventEmitter, Set<() => void>>()

/**
 * Calls when the connection of a request closes. Its response does not always say so: one that waits for its turn behind
 * another on the same connection (pipelining) is told nothing by node.
 *
 * @returns Ends that.
 */
export function onDeparture(request: object, callback: () => void): () => void {
  const socket = 'socket' in request && request.socket
  if (!(socket instanceof EventEmitter)) return () => {}
  // It has closed already, while somebody else dealt with the request.
  if ('destroyed' in socket && socket.destroyed) callback()
  const callbacks = waiting.get(socket) ?? new Set()
  if (!waiting.has(socket)) {
    waiting.set(socket, callbacks)
    // One listener, however many requests there are.
    socket.once('close', () => {
      for (const call of callbacks) call()
    })
  }
  callbacks.add(callback)
  return () => callbacks.delete(callback)
}
