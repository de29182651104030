import { EventEmitter } from 'node:events'

const callbacksOf = new WeakMap<EventEmitter, Set<() => void>>()

/**
 * Calls when the client of a request disconnects. A response does not always say so: one that waits for its turn behind
 * another on the same connection (pipelining) gets no event from node:http.
 *
 * @returns Stops listening.
 */
export function onDisconnect(request: object, callback: () => void): () => void {
  const socket = socketOf(request)
  if (socket === undefined) return () => {}
  const callbacks = callbacksOf.get(socket) ?? new Set()
  if (!callbacksOf.has(socket)) {
    callbacksOf.set(socket, callbacks)
    // One listener, however many requests share the connection.
    socket.once('close', () => {
      for (const call of callbacks) call()
    })
  }
  callbacks.add(callback)
  return () => callbacks.delete(callback)
}

/** Whether the connection of a request is closed: it may have closed while somebody else dealt with the request. */
export function hasDisconnected(request: object): boolean {
  const socket = socketOf(request)
  return socket !== undefined && 'destroyed' in socket && socket.destroyed === true
}

function socketOf(request: object): EventEmitter | undefined {
  return 'socket' in request && request.socket instanceof EventEmitter ? request.socket : undefined
}
