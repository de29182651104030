/** Header fields of a response, with names in lower case. */
export type ResponseFields = ReadonlyMap<string, string>

/** An answer other than an event stream. */
export interface Answer {
  readonly status: number
  readonly fields: ResponseFields
  readonly body: string | Uint8Array | undefined
}

/** Receives the events of a response. */
export interface DownstreamListener {
  /** The response has room for more bytes. */
  onDrain(): void
  /** All bytes were passed to the client's connection. */
  onFinish(): void
  /** The client disconnected, or canceled the response. */
  onClose(): void
}

/** The response to one client, of node:http, node:http2 or the fetch API. */
export interface Downstream {
  /** A field that was set before the relay got the response; undefined when absent. */
  field(name: string): string | undefined
  /** Whether the head was sent. */
  readonly isHeadOut: boolean
  /** Whether writing is impossible: the client disconnected, or the response has ended. */
  readonly isClosed: boolean
  /** Whether written bytes wait because the client reads slowly. */
  readonly isBehind: boolean
  /** The bytes that were written and that the client's connection has not accepted yet. */
  readonly pending: number
  listen(listener: DownstreamListener): void
  /** Resolves when the earlier responses on the connection have ended (pipelining); undefined when there are none. */
  turn(): Promise<void> | undefined
  /** Discards the unread request body: Node does not report the end of a connection while there are unread bytes before it. */
  discardRequestBody(): void
  /** Answers with an event stream, and sends the head at once. */
  open(fields: ResponseFields): void
  /** Sends a whole answer other than an event stream. */
  answer(answer: Answer): void
  /**
   * @param bytes - The caller's again after the call, unless they are shared.
   * @param isShared - Whether the bytes never change, and are written to many responses.
   * @returns False when the response is full: the caller waits for `onDrain`.
   */
  write(bytes: Uint8Array | string, isShared?: boolean): boolean
  /** Makes `onDrain` follow when no bytes are pending any more, although the response may not have been full. */
  callWhenEmpty(): void
  end(last?: string): void
  /** Cuts the response off, so that the client sees an incomplete response. */
  break(error: Error): void
}
