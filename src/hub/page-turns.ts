import { asError } from '../errors.ts'
import type { Page } from './page.ts'
import type { Position } from './store.ts'

/** How many pages the readers of a hub have at the same time: 4 MB for pages of 64 kB. */
const mostAtOnce = 64

/** How long a consumer that does not take its page keeps others waiting, in milliseconds. */
const longestTurn = 250

/** The most pages that are kept for readers that come later to the same page, and for how long after the last turn, in milliseconds. */
const mostKept = 16
const keptFor = 1000

/** How many readers get their page in one turn of the event loop: each of them may write 64 kB, and live events wait meanwhile. */
const mostPassed = 32

/** What the store has after a position. */
export type Loaded =
  | { readonly state: 'page'; readonly page: Page }
  /** The store no longer has the events that follow; `resume` is the position before its oldest event. */
  | { readonly state: 'gap'; readonly resume: Position }

/** A reader that needs a page of the store. */
export interface PageReader {
  onLoaded(loaded: Loaded): void
  /** The page cannot be loaded. The reader's turn is over. */
  onLoadFailure(error: Error): void
}

interface Turn {
  readonly key: string
  readonly load: () => Promise<Loaded>
  /** Those that wait for the page, and those that have not given their turn back. */
  readonly readers: Set<PageReader>
  loaded: Loaded | undefined
  /** When a reader has got the page, on the clock of `performance.now()`. */
  passedAt: number
}

/**
 * Lets a hub load some pages at a time, the others in the order in which they were asked for: 10,000 clients that come back at once
 * would otherwise have as many pages in memory. Readers that want the same page have one turn together. A reader has one page a turn,
 * and then asks again.
 */
export class PageTurns {
  readonly #most: number
  readonly #longest: number
  /** By page, oldest first. */
  readonly #running = new Map<string, Turn>()
  readonly #waiting = new Map<string, Turn>()
  readonly #turns = new Map<PageReader, Turn>()
  /** Readers whose page is there, and that have not got it yet. */
  readonly #ready = new Set<PageReader>()
  /** The latest pages whose turn is over, oldest first. */
  readonly #kept = new Map<string, Loaded>()
  #isPassing = false
  #timer: NodeJS.Timeout | undefined

  constructor(most = mostAtOnce, longest = longestTurn) {
    this.#most = most
    this.#longest = longest
  }

  /** How many pages are held by readers, or are being loaded. */
  get running(): number {
    return this.#running.size
  }

  /**
   * Asks for a page: `onLoaded` or `onLoadFailure` follows, never within this call, unless the reader gives its turn back before. It has
   * the turn until it gives it back, but not for long when others wait.
   *
   * @param key - The same one for the same page of a hub.
   */
  take(reader: PageReader, key: string, load: () => Promise<Loaded>): void {
    this.giveBack(reader)
    const turn = this.#running.get(key) ?? this.#waiting.get(key) ?? this.#add(key, load)
    turn.readers.add(reader)
    this.#turns.set(reader, turn)
    if (turn.loaded) this.#pass([reader])
    this.#watch()
  }

  /** Called when the consumer has taken the page, or the reader no longer needs one. */
  giveBack(reader: PageReader): void {
    const turn = this.#turns.get(reader)
    if (!turn) return
    this.#forget(reader, turn)
    this.#callNext()
  }

  #add(key: string, load: () => Promise<Loaded>): Turn {
    const loaded = this.#kept.get(key)
    const turn: Turn = { key, load, readers: new Set(), loaded, passedAt: performance.now() }
    if (loaded) this.#running.set(key, turn)
    else if (this.#waiting.size === 0 && this.#isFree) this.#start(turn)
    else this.#waiting.set(key, turn)
    return turn
  }

  get #isFree(): boolean {
    return this.#running.size < this.#most
  }

  #start(turn: Turn): void {
    this.#running.set(turn.key, turn)
    turn.load().then(
      (loaded) => {
        turn.loaded = loaded
        turn.passedAt = performance.now()
        this.#pass(turn.readers)
        this.#watch()
      },
      (error: unknown) => {
        const readers = [...turn.readers]
        for (const reader of readers) this.#forget(reader, turn)
        this.#callNext()
        for (const reader of readers) reader.onLoadFailure(asError(error))
      },
    )
  }

  #pass(readers: Iterable<PageReader>): void {
    for (const reader of readers) this.#ready.add(reader)
    if (this.#isPassing || this.#ready.size === 0) return
    this.#isPassing = true
    setImmediate(() => this.#passSome())
  }

  #passSome(): void {
    this.#isPassing = false
    const now = performance.now()
    let count = 0
    for (const reader of this.#ready) {
      if (count++ === mostPassed) break
      this.#ready.delete(reader)
      const turn = this.#turns.get(reader)
      if (!turn?.loaded) continue
      turn.passedAt = now
      reader.onLoaded(turn.loaded)
    }
    this.#pass([])
  }

  #forget(reader: PageReader, turn: Turn): void {
    this.#turns.delete(reader)
    this.#ready.delete(reader)
    turn.readers.delete(reader)
    if (turn.readers.size > 0) return
    const { key, loaded } = turn
    this.#waiting.delete(key)
    if (this.#running.delete(key) && loaded?.state === 'page') this.#keep(key, loaded)
  }

  #keep(key: string, loaded: Loaded): void {
    this.#kept.delete(key)
    this.#kept.set(key, loaded)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= mostKept) break
      this.#kept.delete(oldest)
    }
  }

  #callNext(): void {
    for (const [key, turn] of this.#waiting) {
      if (!this.#isFree) break
      this.#waiting.delete(key)
      this.#start(turn)
    }
    this.#watch()
  }

  /** Ends the turns of those that keep others waiting for too long, and drops the pages that are kept when no reader is behind. */
  #watch(): void {
    if (this.#timer !== undefined) return
    if (this.#waiting.size > 0) this.#wait(this.#longest)
    else if (this.#kept.size > 0) this.#wait(keptFor)
  }

  #wait(time: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      if (this.#waiting.size > 0) this.#endLongTurns()
      else if (this.#running.size === 0) this.#kept.clear()
      this.#watch()
    }, time).unref()
  }

  #endLongTurns(): void {
    const before = performance.now() - this.#longest
    for (const turn of this.#running.values()) {
      if (!turn.loaded || turn.passedAt > before) continue
      for (const reader of turn.readers) if (!this.#ready.has(reader)) this.#forget(reader, turn)
    }
    this.#callNext()
  }
}
