import {
  callback,
  choice,
  flag,
  type Kind,
  milliseconds,
  type OptionsOf,
  optional,
  readOptions,
  refuseUnknown,
  type ValuesOf,
  withDefault,
} from '../options.ts'
import { reconnectOptions, type SourceOptions, sourceOptions } from '../reconnect/options.ts'
import type { SseEvent } from '../wire/event.ts'

const { objectMode, tracker, ...sourceOptionsOfRelays } = sourceOptions

/** On the wire it is a whole number (HTML 9.2.6). */
const reconnectionTime: Kind<number> = {
  ...milliseconds(),
  check: (value, name) => Math.round(milliseconds().check(value, name)),
}

const ownResponseOptions = {
  /** After this many milliseconds without a byte the client gets a comment; 0 sends none. Default 15000. */
  heartbeat: withDefault(milliseconds(), 15_000, 'silence after which a client gets a comment; 0: none'),
  /** The reconnection time that the client is told, in milliseconds. Default: none; the upstream's is never passed on. */
  retry: optional(reconnectionTime, 'the reconnection time that clients are told'),
  /** What becomes of the upstream when the client has gone: it is closed at once, or read to its end. Default `'abort'`. */
  onClientGone: withDefault(choice('abort', 'drain'), 'abort'),
  /**
   * The last event for a client whose stream fails after its head is out; the response then ends. Without it, or when
   * it gives undefined, the connection is destroyed, so that the client can tell all the same.
   */
  errorEvent: optional(callback<(error: Error) => SseEvent | undefined>()),
  /** Whether the client gets `relay-status` events, without ids: `reconnecting`, `live`, `gap`. Default false. */
  statusEvents: withDefault(flag, false, 'send relay-status events to clients'),
}

const headOptions = {
  /**
   * `'lazy'` answers when the upstream has answered, so that a first 401, 404 or 429 reaches the client; `'eager'`
   * answers at once. Default `'lazy'`.
   */
  head: withDefault(choice('lazy', 'eager'), 'lazy'),
  /**
   * With `'lazy'`: a retry that is due later than this after the start is not waited for, and the failure is the
   * answer; 0 makes the first failure the answer. Milliseconds. Default 5000.
   */
  headTimeout: withDefault(milliseconds(), 5000),
}

const ownOptions = { ...ownResponseOptions, ...headOptions }
export const relayResponseOptions = { ...sourceOptionsOfRelays, ...ownResponseOptions }
export const relayOptions = { ...sourceOptionsOfRelays, ...ownOptions }

// Pick keeps the documentation of each option also across files.
/** Options of {@link relayResponse}: those of a source, and what its client gets besides the events. */
export interface RelayResponseOptions
  extends Pick<SourceOptions, keyof typeof sourceOptionsOfRelays>,
    OptionsOf<typeof ownResponseOptions> {}

/** Options of {@link relaySse}. */
export interface RelayOptions extends RelayResponseOptions, OptionsOf<typeof headOptions> {}

/** What a relay itself goes by; {@link RelayOptions}, checked, with the defaults filled in. */
export interface CheckedRelayOptions extends ValuesOf<typeof ownOptions> {}

/**
 * @param known - The options that there are: those of {@link relaySse}, or of {@link relayResponse}.
 * @returns The options of the relay itself, and those of its source.
 * @throws `TypeError` or `RangeError` that names the option and what it got.
 */
export function checkRelayOptions(
  options: RelayOptions,
  known: typeof relayOptions | typeof relayResponseOptions = relayOptions,
): { readonly relay: CheckedRelayOptions; readonly source: ValuesOf<typeof sourceOptionsOfRelays> } {
  refuseUnknown(known, options, '', {
    createResilientSseSource: sourceOptions,
    relaySse: relayOptions,
    reconnect: reconnectOptions,
  })
  return { relay: readOptions(ownOptions, options), source: readOptions(sourceOptionsOfRelays, options) }
}
