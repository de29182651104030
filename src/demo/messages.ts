// What the demonstration's server tells its page: events of the types `status`, `published` and `note`, with JSON as data.

/** What the upstream does. `'restart due'`: it restarts when the gateway has every event that the restart would lose. */
export type UpstreamState = 'up' | 'killed' | 'unavailable' | 'restart due' | 'restarting'

/** How the upstream can be broken: the last part of the path of a POST to `/upstream/`. */
export const faults = ['kill', 'cut', 'silence', 'unavailable', 'restart', 'end'] as const

export type Fault = (typeof faults)[number]

/** A process that runs a hub. */
interface GatewayStatus {
  readonly name: string
  /** Undefined while the process starts. */
  readonly pid: number | undefined
  /** Whether the process has the upstream of the shared stream. */
  readonly isOwner: boolean
}

/** An answer that was asked for. */
export interface SessionStatus {
  readonly name: string
  /** The name of the process that reads the answer from the model; undefined when no process does. */
  readonly owner: string | undefined
  /** The words that the model has sent. */
  readonly words: number
  /** How often the model was asked for this answer. */
  readonly requests: number
}

export interface Status {
  /** The addresses of the two event streams, and of the sessions. */
  readonly addresses: { readonly gateway: string; readonly pipe: string; readonly sessions: string }
  readonly upstream: UpstreamState
  /** The open connections to the upstream. */
  readonly connections: { readonly gateway: number; readonly pipe: number }
  readonly gateways: readonly GatewayStatus[]
  /** The pages that have a client open: of the shared stream, in all gateway processes, and of the pipe. */
  readonly pages: { readonly gateway: number; readonly pipe: number }
  /** Whether a gateway process is connected to the upstream. */
  readonly isConnected: boolean
  /** The connections of the gateways to the upstream after the first. */
  readonly reconnects: number
  /** The repeated events that the gateways have dropped. */
  readonly repeats: number
  readonly sessions: readonly SessionStatus[]
}

/** The upstream has published an event. */
export interface Published {
  /**
   * The number of the event since the start of the demonstration. Unlike the event's id the serial never starts anew, so that the
   * page can tell which events are missing.
   */
  readonly serial: number
  /** When the event was published, in milliseconds since 1970. */
  readonly at: number
}

/** Something that has happened. */
export interface Note {
  readonly at: number
  readonly text: string
  /** Whether the line reports a fault that a visitor has caused. */
  readonly isFault: boolean
}
