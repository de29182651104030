import { setTimeout as sleep } from 'node:timers/promises'
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

type StoreCall = 'open' | 'append' | 'renew' | 'read'

/**
 * What happens to a call:
 * - `'rejects'`: it is not carried out.
 * - `'hangs'`: it is neither carried out nor answered before `wake`.
 * - `'late'`: it is carried out at once, and answered 20 ms later.
 * - `'loses the answer'`: it is carried out, and rejects.
 * - `'twice'`: it is carried out, answered, and carried out once more 20 ms later.
 */
export type Fault = 'rejects' | 'hangs' | 'late' | 'loses the answer' | 'twice'

/** A store in memory whose calls go wrong as a test says. */
export interface FaultyStore extends StreamStore {
  /** The functions that were called, in order. */
  readonly calls: readonly StoreCall[]
  /** Decides for each call what goes wrong; undefined: nothing. */
  fault: (call: StoreCall, stream: string) => Fault | undefined
  /** Carries out and answers the calls that hang. Later calls do as `fault` says. */
  wake(): void
}

const away = () => new Error('the store is away')

export function faultyStore(inner: StreamStore = memoryStore()): FaultyStore {
  const calls: StoreCall[] = []
  let hanging: (() => void)[] = []
  const run = async <T>(call: StoreCall, stream: string, execute: () => Promise<T>): Promise<T> => {
    calls.push(call)
    switch (store.fault(call, stream)) {
      case 'rejects':
        throw away()
      case 'hangs':
        await new Promise<void>((resolve) => hanging.push(resolve))
        return execute()
      case 'late': {
        const answer = await execute()
        await sleep(20)
        return answer
      }
      case 'loses the answer':
        await execute()
        throw away()
      case 'twice': {
        const answer = await execute()
        setTimeout(() => execute().catch(() => {}), 20)
        return answer
      }
      default:
        return execute()
    }
  }
  const store: FaultyStore = {
    calls,
    fault: () => undefined,
    wake() {
      for (const resolve of hanging) resolve()
      hanging = []
    },
    open: (stream, ...args) => run('open', stream, () => inner.open(stream, ...args)),
    append: (stream, ...args) => run('append', stream, () => inner.append(stream, ...args)),
    renew: (stream, ...args) => run('renew', stream, () => inner.renew(stream, ...args)),
    read: (stream, ...args) => run('read', stream, () => inner.read(stream, ...args)),
    watch: (...args) => inner.watch(...args),
  }
  return store
}

/** A fault for the first calls of a function. */
export function firstCalls(name: StoreCall, count: number, fault: Fault): FaultyStore['fault'] {
  let calls = 0
  return (call) => (call === name && calls++ < count ? fault : undefined)
}
