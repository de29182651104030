import type { Messages } from '../diagnostics.ts'
import type { HeaderFields } from '../errors.ts'
import type { SseEvent } from '../wire/event.ts'

/** What is announced of a stream while it lives. */
export type Announced = 'open' | 'drop' | 'retry' | 'gap' | 'duplicate'

/** Who gets what a stream passes on. */
export interface Sink {
  /** Whether somebody asks for the comments among the blocks. */
  readonly readsComments?: boolean
  /**
   * Whole blocks in wire form; of a request that is sent once, bytes as they came. The bytes are the sink's only until it
   * returns; what it keeps it copies.
   *
   * @returns False: no more until `resume()`.
   */
  blocks(bytes: Buffer): boolean
  /** The same one by one, for a sink that asked for events. */
  event(event: SseEvent): boolean
  comment?(text: string): void
  /** A connection is open; its header fields, names in lower case. Called in front of `announced('open', …)`. */
  opened?(headers: HeaderFields): void
  /** The upstream's `retry:` field of a request that is sent once, to a sink that asked for events. */
  reconnectionTime?(milliseconds: number): void
  /** The stream has announced a message of a kind. */
  announced<K extends Announced>(kind: K, message: Messages[K]): void
  /** The stream is complete. Nothing follows. */
  end(): void
  /** The stream has failed. Nothing follows. */
  fail(error: Error): void
}
