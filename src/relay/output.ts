import type { HeaderFields } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'
import { serializeEvent } from '../wire/event.ts'
import type { Downstream } from './downstream.ts'
import { streamFields } from './head.ts'
import type { CheckedRelayOptions } from './options.ts'

/** What is sent to one client within its event stream: blocks, and in between heartbeats, statuses, reconnection times. */
export class Output {
  /** Whether anything was written. */
  hasWritten = false
  readonly #downstream: Downstream
  readonly #options: CheckedRelayOptions
  /** Whether a line of ours may be sent: never within a block. */
  readonly #isBetweenBlocks: () => boolean
  #heartbeat: Deadline | undefined
  /** The client knows that the upstream is away. */
  #saidReconnecting = false
  /** Ends the wait for room. */
  #onRoom: (() => void) | undefined

  constructor(downstream: Downstream, options: CheckedRelayOptions, isBetweenBlocks: () => boolean) {
    this.#downstream = downstream
    this.#options = options
    this.#isBetweenBlocks = isBetweenBlocks
  }

  /** Sends the head. @param upstream - The upstream's header fields, where they are known by now. */
  open(upstream: HeaderFields | undefined): void {
    this.#downstream.open(streamFields(this.#downstream, upstream))
    const { heartbeat, retry } = this.#options
    this.#heartbeat = new Deadline(heartbeat, () => this.#beat(), false)
    if (retry !== undefined) this.retry(retry)
  }

  /** @returns Whether the client has room for more. */
  write(bytes: Uint8Array | string): boolean {
    this.hasWritten = true
    this.#heartbeat?.refresh()
    return this.#downstream.write(bytes)
  }

  /** Resolves when the client has room for more, or gets nothing more. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  /** The client has room for more. */
  onDrain(): void {
    this.#onRoom?.()
    this.#onRoom = undefined
  }

  /** A line without a blank line behind it: clients exist that take every blank line for an event. */
  retry(milliseconds: number): void {
    this.write(`retry: ${milliseconds}\n`)
  }

  status(status: 'reconnecting' | 'live' | 'gap'): void {
    if (status !== 'gap') {
      const isReconnecting = status === 'reconnecting'
      if (isReconnecting === this.#saidReconnecting) return
      this.#saidReconnecting = isReconnecting
    }
    if (!this.#options.statusEvents) return
    this.write(serializeEvent({ event: 'relay-status', data: JSON.stringify({ status }) }))
  }

  /** Nothing more is sent. */
  close(): void {
    this.#heartbeat?.clear()
    this.onDrain()
  }

  #beat(): void {
    // A client that does not read is not helped by more to read.
    if (this.#downstream.isBehind || !this.#isBetweenBlocks()) this.#heartbeat?.refresh()
    else this.write(':\n')
  }
}
