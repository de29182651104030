import { longestTimer } from '../http/deadline.ts'
import { expectOptional, flag, number, oneOf, type SourceOptions } from '../reconnect/options.ts'
import type { SseEvent } from '../wire/event.ts'

/** Options of {@link relayResponse}: those of a source, and what its client gets besides the events. */
export interface RelayResponseOptions extends Omit<SourceOptions, 'objectMode' | 'tracker'> {
  /** After this many milliseconds without a byte the client gets a comment; 0 sends none. Default 15000. */
  readonly heartbeat?: number | undefined
  /** The reconnection time that the client is told, in milliseconds. Default: none; the upstream's is never passed on. */
  readonly retry?: number | undefined
  /** What becomes of the upstream when the client has gone: it is closed at once, or read to its end. Default `'abort'`. */
  readonly onClientGone?: 'abort' | 'drain' | undefined
  /**
   * The last event for a client whose stream fails after its head is out; the response then ends. Without it, or when
   * it gives undefined, the connection is destroyed, so that the client can tell all the same.
   */
  readonly errorEvent?: ((error: Error) => SseEvent | undefined) | undefined
  /** Whether the client gets `relay-status` events, without ids: `reconnecting`, `live`, `gap`. Default false. */
  readonly statusEvents?: boolean | undefined
}

/** Options of {@link relaySse}. */
export interface RelayOptions extends RelayResponseOptions {
  /**
   * `'lazy'` answers when the upstream has answered, so that a first 401, 404 or 429 reaches the client; `'eager'`
   * answers at once. Default `'lazy'`.
   */
  readonly head?: 'lazy' | 'eager' | undefined
  /**
   * With `'lazy'`: a retry that is due later than this after the start is not waited for, and the failure is the
   * answer; 0 makes the first failure the answer. Milliseconds. Default 5000.
   */
  readonly headTimeout?: number | undefined
}

/** What a relay does besides what its stream does; {@link RelayOptions}, checked, with the defaults filled in. */
export interface RelayRules {
  readonly head: 'lazy' | 'eager'
  readonly headTimeout: number
  readonly heartbeat: number
  readonly retry: number | undefined
  readonly onClientGone: 'abort' | 'drain'
  readonly errorEvent: RelayOptions['errorEvent']
  readonly statusEvents: boolean
}

/** @throws `TypeError` or `RangeError` that names the option and what it got. */
export function checkRelayOptions({
  head,
  headTimeout,
  heartbeat,
  retry,
  onClientGone,
  errorEvent,
  statusEvents,
  ...source
}: RelayOptions): { readonly rules: RelayRules; readonly source: SourceOptions } {
  expectOptional(errorEvent, 'function', 'errorEvent')
  const rules: RelayRules = {
    head: oneOf(head, 'head', ['lazy', 'eager']),
    headTimeout: number(headTimeout, 'headTimeout', 5000, 0, longestTimer),
    heartbeat: number(heartbeat, 'heartbeat', 15_000, 0, longestTimer),
    retry: retry === undefined ? undefined : Math.round(number(retry, 'retry', 0, 0, longestTimer)),
    onClientGone: oneOf<'abort' | 'drain'>(onClientGone, 'onClientGone', ['abort', 'drain']),
    statusEvents: flag(statusEvents, 'statusEvents', false),
    errorEvent,
  }
  return { rules, source }
}
