const callbacksOf = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls a function when a signal is aborted. All callbacks of a signal share one listener: a server may give one signal to all
 * of its streams, and Node warns about many listeners.
 *
 * @returns A function that removes the callback.
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
