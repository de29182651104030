const callbacksOf = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls when a signal is aborted, with one listener on the signal however many callers there are: a signal that all streams
 * of a server share would otherwise be warned about for its many listeners.
 *
 * @returns Stops listening.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const callbacks = callbacksOf.get(signal) ?? new Set()
  if (!callbacksOf.has(signal)) {
    callbacksOf.set(signal, callbacks)
    signal.addEventListener('abort', () => {
      for (const call of callbacks) call()
    })
  }
  callbacks.add(callback)
  return () => callbacks.delete(callback)
}
