import { deserialize, serialize } from 'node:v8'
import type { StreamStore } from '../../hub/store.ts'

type Command = 'open' | 'append' | 'renew' | 'read'

/** A call of a store in another process. `args` are those of the function. */
type Call = {
  [Name in Command]: { readonly call: Name; readonly n: number; readonly args: Parameters<StreamStore[Name]> }
}[Command]

type ToHost = Call | { readonly watch: string } | { readonly unwatch: string }

/** The result is serialized in itself, because only the caller knows its type. */
type FromHost =
  | { readonly n: number; readonly result: Uint8Array }
  | { readonly n: number; readonly error: string }
  | { readonly wake: string }

/** One end of a channel between two processes, such as the one that `fork` opens. */
export interface Link {
  send(bytes: Uint8Array): void
  /** Calls `receive` with what the other end has sent. */
  listen(receive: (bytes: Uint8Array) => void): void
}

/**
 * A store that is in another process: {@link serveStore} is the other end. A process that is killed leaves the log of its streams
 * behind, as it would in Redis.
 */
export function remoteStore(link: Link): StreamStore {
  return new RemoteStore(link)
}

class RemoteStore implements StreamStore {
  readonly #link: Link
  readonly #answers = new Map<number, (answer: Exclude<FromHost, { readonly wake: string }>) => void>()
  readonly #watchers = new Map<string, Set<() => void>>()
  #calls = 0

  constructor(link: Link) {
    this.#link = link
    link.listen((bytes) => {
      const message: FromHost = deserialize(bytes)
      if ('wake' in message) for (const wake of this.#watchers.get(message.wake) ?? []) wake()
      else this.#answers.get(message.n)?.(message)
    })
  }

  open(...args: Parameters<StreamStore['open']>): ReturnType<StreamStore['open']> {
    return this.#call((n) => ({ call: 'open', n, args }))
  }

  append(...args: Parameters<StreamStore['append']>): ReturnType<StreamStore['append']> {
    return this.#call((n) => ({ call: 'append', n, args }))
  }

  renew(...args: Parameters<StreamStore['renew']>): ReturnType<StreamStore['renew']> {
    return this.#call((n) => ({ call: 'renew', n, args }))
  }

  read(...args: Parameters<StreamStore['read']>): ReturnType<StreamStore['read']> {
    return this.#call((n) => ({ call: 'read', n, args }))
  }

  watch(stream: string, wake: () => void): () => void {
    // A function of its own: the same one may watch twice.
    const watcher = () => wake()
    const watchers = this.#watchers.get(stream) ?? new Set()
    this.#watchers.set(stream, watchers.add(watcher))
    if (watchers.size === 1) this.#send({ watch: stream })
    return () => {
      if (!watchers.delete(watcher) || watchers.size > 0) return
      this.#watchers.delete(stream)
      this.#send({ unwatch: stream })
    }
  }

  #call<Result>(callOf: (n: number) => Call): Promise<Result> {
    const n = ++this.#calls
    return new Promise((resolve, reject) => {
      this.#answers.set(n, (answer) => {
        this.#answers.delete(n)
        if ('error' in answer) reject(new Error(answer.error))
        else resolve(deserialize(answer.result))
      })
      this.#send(callOf(n))
    })
  }

  #send(message: ToHost): void {
    this.#link.send(serialize(message))
  }
}

/**
 * Carries out the calls of a {@link remoteStore}.
 *
 * @returns A function that forgets what the other process watches. It is called at the end of that process.
 */
export function serveStore(store: StreamStore, link: Link): () => void {
  const watched = new Map<string, () => void>()
  const send = (message: FromHost) => link.send(serialize(message))
  const answer = async (call: Call) => {
    const { n } = call
    try {
      send({ n, result: serialize(await carryOut(store, call)) })
    } catch (error) {
      send({ n, error: String(error) })
    }
  }
  link.listen((bytes) => {
    const message: ToHost = deserialize(bytes)
    if ('call' in message) void answer(message)
    else if ('watch' in message) {
      const stream = message.watch
      watched.set(
        stream,
        store.watch(stream, () => send({ wake: stream })),
      )
    } else {
      watched.get(message.unwatch)?.()
      watched.delete(message.unwatch)
    }
  })
  return () => {
    for (const unwatch of watched.values()) unwatch()
    watched.clear()
  }
}

function carryOut(store: StreamStore, call: Call): Promise<unknown> {
  switch (call.call) {
    case 'open':
      return store.open(...call.args)
    case 'append':
      return store.append(...call.args)
    case 'renew':
      return store.renew(...call.args)
    case 'read':
      return store.read(...call.args)
  }
}
