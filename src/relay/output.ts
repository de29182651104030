import type { HeaderFields } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'
import { serializeEvent } from '../wire/event.ts'
import type { Downstream } from './downstream.ts'
import { streamFields } from './head.ts'
import type { CheckedRelayOptions } from './options.ts'

/** Sends an event stream to one client: blocks, and between them heartbeats, status events and reconnection times. */
export class Output {
  /** Whether bytes were written after the head. */
  hasWritten = false
  readonly #downstream: Downstream
  readonly #options: CheckedRelayOptions
  /** Whether a line of our own may be sent: within a block, such a line would corrupt the block. */
  readonly #isBetweenBlocks: () => boolean
  #heartbeat: Deadline | undefined
  /** Whether the latest status of the connection that was sent is `reconnecting`. */
  #sentReconnecting = false
  /** Resolves the promise of `room`. */
  #onRoom: (() => void) | undefined

  constructor(downstream: Downstream, options: CheckedRelayOptions, isBetweenBlocks: () => boolean) {
    this.#downstream = downstream
    this.#options = options
    this.#isBetweenBlocks = isBetweenBlocks
  }

  /**
   * Sends the head.
   *
   * @param upstream - The upstream's header fields, if they are known.
   */
  open(upstream: HeaderFields | undefined): void {
    this.#downstream.open(streamFields(this.#downstream, upstream))
    const { heartbeat, retry } = this.#options
    this.#heartbeat = new Deadline(heartbeat, () => this.#sendHeartbeat(), false)
    if (retry !== undefined) this.retry(retry)
  }

  /** @returns Whether the client has room for more. */
  write(bytes: Uint8Array | string): boolean {
    this.onWrite()
    return this.#downstream.write(bytes)
  }

  /** Called before each write to the client: the next heartbeat is due later. */
  onWrite(): void {
    this.hasWritten = true
    this.#heartbeat?.refresh()
  }

  /** Resolves when the client has room for more bytes, or the output is closed. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  /** Called when the client has room for more bytes. */
  onDrain(): void {
    this.#onRoom?.()
    this.#onRoom = undefined
  }

  /** Sends one line without a blank line: some clients read every blank line as an event. */
  retry(milliseconds: number): void {
    this.write(`retry: ${milliseconds}\n`)
  }

  status(status: 'reconnecting' | 'live' | 'gap'): void {
    if (status !== 'gap') {
      const isReconnecting = status === 'reconnecting'
      if (isReconnecting === this.#sentReconnecting) return
      this.#sentReconnecting = isReconnecting
    }
    if (!this.#options.statusEvents) return
    this.write(serializeEvent({ event: 'relay-status', data: JSON.stringify({ status }) }))
  }

  /** Stops heartbeats, and ends the wait for room. */
  close(): void {
    this.#heartbeat?.clear()
    this.onDrain()
  }

  #sendHeartbeat(): void {
    // A client that does not read needs no further bytes.
    if (this.#downstream.isBehind || !this.#isBetweenBlocks()) this.#heartbeat?.refresh()
    else this.write(':\n')
  }
}
