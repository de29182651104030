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
  type ValuesOf,
  withDefault,
} from '../options.ts'
import { reconnectOptions, type SourceOptions, sourceOptions } from '../reconnect/options.ts'
import type { SseEvent } from '../wire/event.ts'
import { Drain } from './drain.ts'
import type { Refusal } from './head.ts'
import type { EventTransform } from './transform.ts'

const { objectMode, tracker, ...sourceOptionsOfRelays } = sourceOptions

/** On the wire it is a whole number (HTML 9.2.6). */
const reconnectionTime: Kind<number> = {
  ...milliseconds(),
  check: (value, name) => Math.round(milliseconds().check(value, name)),
}

const ownOptions = {
  /**
   * When the client gets a status. `'auto'`: a request that reconnects (see `clientReconnects`) is answered when the upstream
   * is open or has refused for good, and after `headTimeout` with 200 and heartbeats, while the upstream is dialled on; any other
   * request as with `'lazy'`. `'lazy'`: the upstream's first answer decides, so that a 401, 404 or 429 reaches the client.
   * `'eager'`: 200 at once. Default `'auto'`.
   */
  head: withDefault(choice('auto', 'lazy', 'eager'), 'auto'),
  /**
   * For a request that reconnects: how long the head waits for the upstream. For any other: a retry that is due later than
   * this after the start is not waited for, and the failure is the answer; 0 makes the first failure the answer.
   * Milliseconds. Default 5000.
   */
  headTimeout: withDefault(milliseconds(), 5000),
  /**
   * Whether the client comes back by itself when its connection ends or breaks, and gives up for ever at a status other
   * than 200 (HTML, 9.2.3), as an EventSource does. Such a client is never answered a failure that passes: it gets a 200
   * that says when to come back. Default: whether the request is a GET without a body whose `Accept` names
   * `text/event-stream`.
   */
  clientReconnects: optional(flag),
  /** After this many milliseconds without a byte the client gets a comment; 0 sends none. Default 15000. */
  heartbeat: withDefault(milliseconds(), 15_000, 'silence after which a client gets a comment; 0: none'),
  /** The reconnection time that the client is told, in milliseconds. Default: none; the upstream's is never passed on. */
  retry: optional(reconnectionTime, 'the reconnection time that clients are told'),
  /** What becomes of the upstream when the client disconnects: it is closed at once, or read to its end. Default `'abort'`. */
  onClientGone: withDefault(choice('abort', 'drain'), 'abort'),
  /**
   * The last event for a client whose stream fails after its head is out; the response then ends. Without it, or when
   * it gives undefined, the connection is broken, so that the client can tell all the same.
   */
  errorEvent: optional(callback<(error: Error) => SseEvent | undefined>()),
  /**
   * The answer to a client whose stream fails before its head is out, in place of the upstream's own; undefined leaves
   * that. Not called where a client that reconnects gets a 200.
   */
  refusal: optional(callback<(error: Error) => Refusal | undefined>()),
  /**
   * Whether the client gets `relay-status` events, without ids: `reconnecting`, `live`, `gap`. Behind an `async function*` they
   * may come before events that the generator still has. Default false.
   */
  statusEvents: withDefault(flag, false, 'send relay-status events to clients'),
  /**
   * Changes events on their way to the client: a function that gives the event to send, or undefined for none, or an
   * `async function*` over all events of the stream; its parameter needs a type: `SseEvent`, or `AsyncIterable<SseEvent>`.
   * Comments of the upstream are not passed on then.
   */
  transform: optional(callback<EventTransform>()),
  /**
   * Whether clients get the cursor as the event's id, and come back with it: for upstreams whose place to resume from is
   * not in the id. With the option `cursor`. Default false.
   */
  cursorAsId: withDefault(flag, false),
  /** Ends the stream, with word to come back, when the server is to stop: see {@link createDrain}. Default: none. */
  drain: optional(object<Drain>('a drain made by createDrain', (value) => value instanceof Drain)),
}

export const relayOptions = { ...sourceOptionsOfRelays, ...ownOptions }

// Pick keeps the documentation of each option also across files.
/** Options of {@link relaySse} and {@link relayResponse}: those of a source, and what its client gets besides the events. */
export interface RelayOptions
  extends Pick<SourceOptions, keyof typeof sourceOptionsOfRelays>,
    OptionsOf<typeof ownOptions> {}

/** What a relay itself goes by; {@link RelayOptions}, checked, with the defaults filled in. */
export interface CheckedRelayOptions extends ValuesOf<typeof ownOptions> {}

/**
 * @returns The options of the relay itself, and those of its source.
 * @throws `TypeError` or `RangeError` that names the option and what it got.
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
    relay: readOptions(ownOptions, options),
    source: readOptions(sourceOptionsOfRelays, options),
  }
  if (checked.relay.cursorAsId && checked.source.cursor === undefined) {
    throw new TypeError('cursorAsId needs the option cursor, which says what the cursor is')
  }
  return checked
}
