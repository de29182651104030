import type { HeaderFields } from '../errors.ts'

/** What a client of a shared stream asks for. */
export interface JoinRequest {
  /** The client's last event ID; `''` without one. */
  readonly lastEventId: string
  readonly from: 'live' | 'start'
}

/** A client of a shared stream in this process: a response, or a subscription. */
export interface Member {
  readonly request: JoinRequest
  /** Called when this process has opened the upstream, with the upstream's header fields. */
  onOpen?(headers: HeaderFields): void
  /** Called before a retry of the upstream, with the delay in milliseconds and the error that is retried. */
  onRetry?(delay: number, error: Error): void
  /** Called when this process can no longer serve the stream. This is the last call. */
  onFailure(error: Error): void
  /** Called when nothing was sent to the clients of the stream for the heartbeat's time. */
  heartbeat?(): void
  /**
   * Called often for time limits, while a client may exceed one.
   *
   * @param now - On the clock of `performance.now()`.
   */
  tick?(now: number): void
  /**
   * Called when the hub is closing.
   *
   * @param retry - When the client should reconnect, in milliseconds.
   * @returns Whether the client was told to reconnect.
   */
  dismiss(retry: number): boolean
}
