import type { HubGapReason } from '../diagnostics.ts'
import type { LiveReader, Log } from './log.ts'
import { type Page, pageSize } from './page.ts'
import type { Loaded, PageReader } from './page-turns.ts'
import { comparePositions, type EndEntry, type Position } from './store.ts'

/** Why events are missing before the next one: they are no longer kept, or the client's last event ID is unknown. */
export type GapReason = HubGapReason

/** The consumer of a reader. */
export interface ReaderTarget {
  /**
   * Asked before `onEvents`. When false, the reader waits for `resume()`. Without this function, bytes of any size are passed on.
   *
   * @param size - The number of bytes.
   */
  canTake?(size: number): boolean
  /** @returns False when the consumer is full: the reader waits for `resume()`. */
  onEvents(bytes: Buffer): boolean
  /** Called when events are missing before the next one. The consumer may close the reader. */
  onGap(reason: GapReason): void
  /** Called when events of the upstream may be missing before the next one. The consumer may close the reader. */
  onUpstreamGap(): void
  /** Called after the last event of a stream that has ended. This is the last call. */
  onEnd(end: EndEntry): void
  /** The log cannot be read. This is the last call. */
  onFailure(error: Error): void
}

type State = 'reading' | 'live' | 'full' | 'loading' | 'over'

/** A place in a log that moves on as fast as its consumer takes the events. */
export class Reader implements LiveReader, PageReader {
  readonly #log: Log
  readonly #target: ReaderTarget
  /** The position after the latest event that was passed on, or a later one without an event between them. */
  #after: Position
  #state: State = 'reading'
  /** Since when the consumer is full, on the clock of `performance.now()`. */
  #fullSince = 0
  /** Whether this reader has or awaits a turn to load a page. */
  #hasTurn = false
  /** Whether the log calls this reader: also while the consumer is full, until there are events that it cannot take. */
  #isListening = false
  /** Whether the consumer has had no event: then none can be missing before its first one. */
  #isFresh: boolean

  /** @param isFresh - Whether the consumer has had no event of the stream, here or elsewhere. */
  constructor(log: Log, after: Position, target: ReaderTarget, isFresh = false) {
    this.#log = log
    this.#after = after
    this.#target = target
    this.#isFresh = isFresh
  }

  /** The position after the latest event that was passed on. */
  get position(): Position {
    const { sent } = this.#log
    // While the log gives its latest events to one reader after another, the others have not had them yet.
    return this.#state === 'live' && sent && !this.#log.isFlushing ? sent : this.#after
  }

  /** Whether there are events that the consumer has not taken yet. */
  get isBehind(): boolean {
    return this.#state === 'full' || this.#state === 'loading'
  }

  /** Since when the consumer has taken nothing, on the clock of `performance.now()`; undefined while it is not full. */
  get fullSince(): number | undefined {
    return this.#state === 'full' ? this.#fullSince : undefined
  }

  /** Passes events on until the consumer is full or has had every event. */
  read(): void {
    this.#become('reading')
    while (this.#isReading()) {
      const next = this.#log.next(this.#after)
      if (next.state === 'live') {
        this.#listen()
      } else if (next.state === 'end') {
        this.#finish(next.end)
      } else if (next.state === 'away') {
        this.#load()
      } else {
        this.#pass(next.page)
      }
    }
  }

  /** Called when the consumer has room again. */
  resume(): void {
    if (this.#state !== 'full') return
    this.#endTurn()
    if (this.#isListening) this.#become('live')
    else this.read()
  }

  close(): void {
    this.#after = this.position
    this.#become('over')
    this.#endTurn()
    this.#ignore()
  }

  onBytes(bytes: Buffer, end: Position, gap?: boolean): void {
    if (this.#state !== 'live') {
      this.#ignore()
      return
    }
    if (comparePositions(this.#after, end) >= 0) return
    if (this.#target.canTake?.(bytes.length) === false) {
      this.#ignore()
      this.#wait()
      return
    }
    this.#after = end
    this.#tell(gap)
    if (!this.#isLive() || this.#target.onEvents(bytes) || !this.#isLive()) return
    this.#wait()
  }

  onLogEnd(end: EndEntry): void {
    if (this.#state !== 'live') {
      this.#ignore()
      return
    }
    this.#after = end.previous ?? this.#after
    this.#become('reading')
    this.#finish(end)
  }

  onMissing(after: Position): void {
    this.#isListening = false
    if (this.#state !== 'live') return
    this.#after = after
    this.read()
  }

  #isLive(): boolean {
    return this.#state === 'live'
  }

  onLoaded(loaded: Loaded): void {
    if (this.#state !== 'loading') return
    this.#become('reading')
    if (loaded.state === 'gap') {
      this.#after = loaded.resume
      this.#target.onGap('trimmed')
    } else {
      this.#pass(loaded.page)
    }
    if (this.#isReading()) this.read()
  }

  onLoadFailure(error: Error): void {
    if (this.#state !== 'loading') return
    this.close()
    this.#target.onFailure(error)
  }

  #listen(): void {
    this.#endTurn()
    this.#become('live')
    this.#isListening = true
    this.#log.join(this)
  }

  #ignore(): void {
    if (this.#isListening) this.#log.leave(this)
    this.#isListening = false
  }

  #become(state: State): void {
    const wasBehind = this.isBehind
    this.#state = state
    if (this.isBehind !== wasBehind) this.#log.onReaderBehind(!wasBehind)
  }

  #isReading(): boolean {
    return this.#state === 'reading'
  }

  #pass({ bytes, end, gap }: Page): void {
    if (bytes.length > 0 && this.#target.canTake?.(bytes.length) === false) {
      this.#wait()
      return
    }
    this.#after = end
    if (bytes.length > 0) this.#tell(gap)
    if (!this.#isReading()) return
    if (bytes.length > 0 && !this.#target.onEvents(bytes) && this.#isReading()) this.#wait()
  }

  /** To be called before events are passed on. */
  #tell(gap: boolean | undefined): void {
    const isFresh = this.#isFresh
    this.#isFresh = false
    if (gap && !isFresh) this.#target.onUpstreamGap()
  }

  #wait(): void {
    this.#become('full')
    this.#fullSince = performance.now()
  }

  #load(): void {
    // Pages are not loaded for a consumer that has not taken the latest one.
    if (this.#target.canTake?.(pageSize) === false) {
      this.#wait()
      return
    }
    this.#become('loading')
    this.#hasTurn = true
    this.#log.request(this.#after, this)
  }

  #endTurn(): void {
    if (this.#hasTurn) this.#log.turns.giveBack(this)
    this.#hasTurn = false
  }

  #finish(end: EndEntry): void {
    this.close()
    this.#target.onEnd(end)
  }
}
