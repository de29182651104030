import { memoryStore, type StreamStore } from '../../src/index.ts'

/** A store whose functions are those of another store, or replace them. */
export function wrapStore(
  replace: (store: StreamStore) => Partial<StreamStore>,
  store: StreamStore = memoryStore(),
): StreamStore {
  return {
    open: (...args) => store.open(...args),
    append: (...args) => store.append(...args),
    renew: (...args) => store.renew(...args),
    read: (...args) => store.read(...args),
    watch: (...args) => store.watch(...args),
    ...replace(store),
  }
}
