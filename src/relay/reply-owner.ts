import type { ResponseFields } from './downstream.ts'
import type { CheckedRelayOptions } from './options.ts'

/** How a response was completed; `RelaySummary.outcome` says what each means. */
export type ReplyOutcome = 'ended' | 'client-gone' | 'refused' | 'failed' | 'drained'

/**
 * `'head'`: the head was not sent; `'open'`: events are sent to the client; `'disconnected'`: the client disconnected, and the
 * owner may read on; `'over'`: the response is complete, broken or closed.
 */
export type ReplyPhase = 'head' | 'open' | 'disconnected' | 'over'

/** The options of a relay that a reply needs. */
export type ReplyOptions = Pick<
  CheckedRelayOptions,
  | 'head'
  | 'headTimeout'
  | 'clientReconnects'
  | 'heartbeat'
  | 'retry'
  | 'errorEvent'
  | 'refusal'
  | 'statusEvents'
>

/** The sender of the events of a reply. */
export interface ReplyOwner {
  /** Whether a line of our own may be sent now: within a block, such a line would corrupt the block. */
  readonly isBetweenBlocks: boolean
  /** Header fields for the head of the event stream, besides those that every head has. */
  readonly headFields?: ResponseFields | undefined
  /** Called when the response's turn has come: from now on events may be sent, and the owner may fail or end the reply. */
  onBegin(): void
  /** Called when the head was sent. */
  onHead(): void
  /** Called when the client has room for more bytes. */
  onRoom(): void
  /** Called when the client disconnects before the response is complete. */
  onDisconnect(): void
  /** Called when a function of the caller, or middleware of the response, has thrown. The reply then ends. */
  onFault(fault: Error): void
  /**
   * Called when the response is complete, broken or closed. May be called again; only the first call counts.
   *
   * @param fault - The error that a function of the caller has thrown.
   */
  onOver(outcome: ReplyOutcome, fault: Error | undefined): void
}
