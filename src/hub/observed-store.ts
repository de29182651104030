import type { StoreCommand } from '../diagnostics.ts'
import type { StreamStore } from './store.ts'

/**
 * Wraps a store, to tell how long its answers take.
 *
 * @param onAnswer - Called for each call that has settled, with its milliseconds. A call that gets no answer is not reported.
 */
export function observeStore(
  store: StreamStore,
  onAnswer: (command: StoreCommand, duration: number) => void,
): StreamStore {
  const timed = async <T>(command: StoreCommand, call: () => Promise<T>): Promise<T> => {
    const start = performance.now()
    try {
      return await call()
    } finally {
      onAnswer(command, performance.now() - start)
    }
  }
  return {
    open: (...args) => timed('open', () => store.open(...args)),
    append: (...args) => timed('append', () => store.append(...args)),
    renew: (...args) => timed('renew', () => store.renew(...args)),
    read: (...args) => timed('read', () => store.read(...args)),
    watch: (...args) => store.watch(...args),
    close: async () => store.close?.(),
  }
}
