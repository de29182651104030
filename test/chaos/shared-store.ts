import { createParser } from 'eventsource-parser'
import {
  type AppendResult,
  type Entry,
  memoryStore,
  type OpenResult,
  type StreamStore,
} from '../../src/index.ts'

/** An event that the store has, as clients get it. */
export interface StoredEvent {
  readonly id: string
  readonly event: string | undefined
  readonly data: string
}

/** A store in memory that notes everything that was stored, also what it no longer keeps. */
export class RecordingStore implements StreamStore {
  readonly events: StoredEvent[] = []
  /** The number of functions that wait to be called when the store changes. */
  watchers = 0
  /** How the stream has ended; undefined while it runs. */
  end: 'ended' | 'failed' | 'cancelled' | undefined
  /** Whether any run of the stream has failed. */
  hasFailed = false
  /** The number of runs. */
  opens = 0
  readonly #store = memoryStore()
  readonly #onEvents: () => void
  #latest: Entry | undefined
  readonly #parser = createParser({
    onEvent: ({ id = '', event, data }) => void this.events.push({ id, event, data }),
  })

  /** @param onEvents - Called after events were stored. */
  constructor(onEvents: () => void) {
    this.#onEvents = onEvents
  }

  async open(...args: Parameters<StreamStore['open']>): Promise<OpenResult> {
    const result = await this.#store.open(...args)
    if (result.state !== 'open') return result
    const [, , { force }] = args
    this.end = force === undefined ? undefined : 'cancelled'
    if (force === undefined) this.opens++
    return result
  }

  async append(...args: Parameters<StreamStore['append']>): Promise<AppendResult> {
    const result = await this.#store.append(...args)
    const [, entry] = args
    if (result !== 'stored' || entry === this.#latest) return result
    this.#latest = entry
    if (entry.kind === 'events') {
      this.#parser.feed(entry.bytes.toString())
      this.#onEvents()
    } else {
      this.end = entry.how
      if (entry.how === 'failed') this.hasFailed = true
    }
    return result
  }

  renew(...args: Parameters<StreamStore['renew']>) {
    return this.#store.renew(...args)
  }

  read(...args: Parameters<StreamStore['read']>) {
    return this.#store.read(...args)
  }

  watch(stream: string, wake: () => void): () => void {
    this.watchers++
    const unwatch = this.#store.watch(stream, wake)
    return () => {
      this.watchers--
      unwatch()
    }
  }
}
