import { SseError } from '../../src/errors.ts'
import { BlockScanner } from '../../src/wire/blocks.ts'
import { BlockReader, type ReaderCallbacks } from '../../src/wire/reader.ts'

/** Scanner and reader combined as in a stream that parses every event. */
export class EventReader {
  readonly #scanner: BlockScanner
  readonly #reader: BlockReader

  /** @param maxEventSize - The most bytes of one block on the wire. */
  constructor(maxEventSize: number, callbacks: ReaderCallbacks) {
    this.#scanner = new BlockScanner(maxEventSize)
    this.#reader = new BlockReader(callbacks)
  }

  read(chunk: Buffer): void {
    this.#scanner.push(chunk)
    for (let run = this.#scanner.next(); run !== undefined; run = this.#scanner.next()) this.#reader.read(run)
    if (this.#scanner.tooLarge) throw new SseError('ERR_SSE_EVENT_TOO_LARGE', 'too large')
  }

  end(): void {
    this.#reader.readRest(this.#scanner.rest())
  }
}
