import type { Log } from './log.ts'
import type { LocalLog, LocalStore } from './memory-store.ts'
import {
  type AppendResult,
  comparePositions,
  type EndEntry,
  type EventsEntry,
  type Position,
  positionOf,
  type StreamStore,
} from './store.ts'
import type { StoreAccess } from './store-access.ts'

type Appended = EventsEntry | EndEntry

/**
 * Appends entries to the log of a stream, one after another, and those again that the store has lost, as a server may that has taken
 * over from another one.
 */
export class Appends {
  readonly #store: StreamStore
  readonly #access: StoreAccess
  readonly #name: string
  readonly #log: Log
  #isCalling = false
  /** The number of appends that are not answered. */
  #running = 0
  #repair: Promise<boolean> | undefined
  #local: LocalLog | undefined

  constructor(store: StreamStore, access: StoreAccess, name: string, log: Log) {
    this.#store = store
    this.#access = access
    this.#name = name
    this.#log = log
  }

  /** Whether the store is being called: a store in this process wakes its watchers during the call. */
  get isCalling(): boolean {
    return this.#isCalling
  }

  /**
   * Appends an entry; before it those that the store has lost.
   *
   * @returns Whether the entry is stored.
   * @throws {@link SseError} `ERR_SSE_STORE`
   */
  async append(
    entry: Appended,
    trimBefore?: Position,
    isWanted: () => boolean = () => true,
  ): Promise<boolean> {
    if (this.#repair && !(await this.#repair)) return false
    this.#running++
    try {
      const result = await this.#send(entry, trimBefore, isWanted)
      if (result !== 'missing') return result === 'stored'
      return (await this.#restore(isWanted)) && (await this.#send(entry, trimBefore, isWanted)) === 'stored'
    } finally {
      this.#running--
    }
  }

  /** Does the same in a store in this process, which loses nothing. */
  appendNow(store: LocalStore, entry: EventsEntry, trimBefore: Position | undefined): boolean {
    this.#local ??= store.logOf(this.#name)
    this.#isCalling = true
    try {
      return this.#local.append(entry, trimBefore) === 'stored'
    } finally {
      this.#isCalling = false
    }
  }

  /**
   * Called when the store has told its latest entry: appends what it has lost. While another entry is being appended, the append itself
   * finds out.
   *
   * @returns False when the entries that are lost are no longer in memory.
   * @throws {@link SseError} `ERR_SSE_STORE`
   */
  repair(latest: Position, isWanted: () => boolean): Promise<boolean> {
    const { tail } = this.#log
    if (this.#running > 0 || !tail || comparePositions(latest, positionOf(tail)) >= 0)
      return Promise.resolve(true)
    this.#repair ??= this.#restore(isWanted).finally(() => {
      this.#repair = undefined
    })
    return this.#repair
  }

  /** Appends the entries that the store lacks. */
  async #restore(isWanted: () => boolean): Promise<boolean> {
    const [latest] = await this.#access.call(() => this.#store.read(this.#name, 'last', 1), isWanted)
    const lost = latest && this.#log.entriesAfter(positionOf(latest))
    // Without its last entries the log goes on in a new epoch, so that clients see that events are missing.
    if (!lost) return false
    for (const each of lost) {
      if ((await this.#send(each, undefined, isWanted)) !== 'stored') return false
    }
    return true
  }

  #send(entry: Appended, trimBefore: Position | undefined, isWanted: () => boolean): Promise<AppendResult> {
    return this.#access.call(() => {
      this.#isCalling = true
      try {
        return this.#store.append(this.#name, entry, trimBefore)
      } finally {
        this.#isCalling = false
      }
    }, isWanted)
  }
}
