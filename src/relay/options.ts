import {
  callback,
  choice,
  flag,
  type Kind,
  milliseconds,
  type OptionsOf,
  object,
  optional,
  readOptions,
  refuseUnknown,
  sharing,
  type ValuesOf,
  withDefault,
} from '../options.ts'
import { reconnectOptions, type SourceOptions, sourceOptions } from '../reconnect/options.ts'
import type { SseEvent } from '../wire/event.ts'
import { Drain } from './drain.ts'
import type { Refusal } from './head.ts'
import type { EventTransform } from './transform.ts'

const { objectMode, tracker, ...sourceOptionsOfRelays } = sourceOptions

/** Rounded, because the value of a `retry:` field is a whole number (HTML, 9.2.6). */
const reconnectionTime: Kind<number> = {
  ...milliseconds(),
  check: (value, name) => Math.round(milliseconds().check(value, name)),
}

const ownOptions = {
  /**
   * When the client gets a status. Default `'auto'`.
   *
   * - `'auto'`: a client that reconnects (see `clientReconnects`) gets a status when the upstream is open or has refused
   *   permanently. After `headTimeout` the client gets 200 and heartbeats while attempts continue. Any other client is
   *   answered as with `'lazy'`.
   * - `'lazy'`: the upstream's first answer decides, so that a 401, 404 or 429 reaches the client.
   * - `'eager'`: the client gets 200 at once.
   */
  head: withDefault(choice('auto', 'lazy', 'eager'), 'auto'),
  /**
   * For a client that reconnects: milliseconds before it gets 200 without an open upstream. For any other client: a failure
   * is answered with its status when the next retry is due later than this many milliseconds after the start; with 0 the
   * first failure is. Default 5000.
   */
  headTimeout: withDefault(milliseconds(), 5000),
  /**
   * Whether the client, like an EventSource, reconnects when its connection ends or breaks, and fails permanently for a
   * status other than 200 (HTML, 9.2.3). For a transient failure such a client gets a 200 with a `retry:` field instead of
   * an error status. Default: true for a GET without a body whose `Accept` names `text/event-stream`, otherwise false.
   */
  clientReconnects: optional(flag),
  /** Milliseconds without a byte after which the client gets a comment; 0: no heartbeats. Default 15000. */
  heartbeat: withDefault(
    milliseconds(),
    15_000,
    'silence after which clients get a comment; 0: no heartbeats',
  ),
  /**
   * The reconnection time that is sent to the client, in milliseconds. Default: no `retry:` is sent. The upstream's own
   * `retry:` is passed on only where the relay does not reconnect.
   */
  retry: optional(reconnectionTime, 'the reconnection time that is sent to clients'),
  /**
   * What happens to the upstream when the client disconnects: `'abort'` closes the connection at once, `'drain'` reads the
   * stream to its end. Default `'abort'`.
   */
  onClientGone: withDefault(choice('abort', 'drain'), 'abort'),
  /**
   * Returns the last event for a client whose stream fails after its head was sent; the response then ends. Default, and for
   * undefined: the connection is broken, so that the client sees the failure.
   */
  errorEvent: optional(callback<(error: Error) => SseEvent | undefined>()),
  /**
   * Returns the answer to a client whose stream fails before its head was sent. Default, and for undefined: the upstream's
   * status, or 502, 503 or 504. Not called when a client that reconnects gets a 200.
   */
  refusal: optional(callback<(error: Error) => Refusal | undefined>()),
  /**
   * Whether the client gets events of the type `relay-status`, without ids, whose data is a JSON object with the `status`
   * `reconnecting`, `live` or `gap`. With an `async function*` as the transform, a status may overtake events that the
   * generator still holds. Default false.
   */
  statusEvents: withDefault(flag, false, 'send relay-status events to clients'),
  /**
   * Changes the events that the client gets: a function that returns the event to send, or undefined to drop the event; or an
   * `async function*` over all events of the stream. TypeScript needs a type for the parameter: `SseEvent` or
   * `AsyncIterable<SseEvent>`. With a transform the upstream's comments are dropped. Default: events are not changed.
   */
  transform: optional(callback<EventTransform>()),
  /**
   * Whether clients get the cursor as the id of each event, and so reconnect with the cursor. For upstreams that do not
   * resume from the last event ID. Requires the option `cursor`. Default false.
   */
  cursorAsId: withDefault(flag, false),
  /** Ends the stream before the server stops; see {@link createDrain}. Default: no drain. */
  drain: optional(object<Drain>('a drain made by createDrain', (value) => value instanceof Drain)),
}

export const relayOptions = { ...sourceOptionsOfRelays, ...ownOptions }

// Pick keeps each option's documentation across files.
/**
 * Options of {@link relaySse} and {@link relayResponse}: those of a source, and those of the client's response.
 *
 * @example
 * ```ts
 * import type { RelayOptions } from 'resilient-sse'
 *
 * const options: RelayOptions = {
 *   heartbeat: 10_000,
 *   errorEvent: ({ message }) => ({ event: 'error', data: message }),
 * }
 * ```
 */
export interface RelayOptions
  extends Pick<SourceOptions, keyof typeof sourceOptionsOfRelays>,
    OptionsOf<typeof ownOptions> {}

/** A relay's own options, checked, with the defaults filled in. */
export interface CheckedRelayOptions extends ValuesOf<typeof ownOptions> {}

const shareOwn = sharing<CheckedRelayOptions>()

/**
 * @returns The relay's own options, and those of its stream.
 * @throws `TypeError` or `RangeError` that names the option and the value.
 */
export function checkRelayOptions(options: RelayOptions): {
  readonly relay: CheckedRelayOptions
  readonly source: ValuesOf<typeof sourceOptionsOfRelays>
} {
  refuseUnknown(relayOptions, options, '', {
    createResilientSseSource: sourceOptions,
    reconnect: reconnectOptions,
  })
  const checked = {
    relay: shareOwn(readOptions(ownOptions, options)),
    source: readOptions(sourceOptionsOfRelays, options),
  }
  if (checked.relay.cursorAsId && checked.source.cursor === undefined) {
    throw new TypeError('cursorAsId needs the option cursor, which returns the cursor after an event')
  }
  return checked
}
