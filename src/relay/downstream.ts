/** Header fields of a response; names in lower case. */
export type ResponseFields = ReadonlyMap<string, string>

/** An answer that is no event stream. */
export interface Answer {
  readonly status: number
  readonly fields: ResponseFields
  readonly body: string | Uint8Array | undefined
}

/** What a response tells its relay. */
export interface DownstreamListener {
  /** There is room for more. */
  onDrain(): void
  /** Everything was handed to the client's connection. */
  onFinish(): void
  /** The client's connection is closed, or the client does not want the rest. */
  onClose(): void
}

/** The response to one client, of whichever kind its server is. */
export interface Downstream {
  /** What was set, by whoever had the response before, or undefined. */
  field(name: string): string | undefined
  /** Whether a status is out already. */
  readonly isHeadOut: boolean
  /** Nothing can be written any more: the client disconnected, or somebody else has answered. */
  readonly isClosed: boolean
  /** Whether bytes wait for a client that does not read as fast as they come. */
  readonly isBehind: boolean
  listen(listener: DownstreamListener): void
  /** Resolves when it is this response's turn on its connection. */
  turn(): Promise<void> | undefined
  /**
   * Lets the rest of the request's body go where nobody reads it: behind unread bytes, the end of the client's connection is
   * not seen.
   */
  discardRequestBody(): void
  /** Answers with an event stream; the head goes out at once. */
  open(fields: ResponseFields): void
  /** Answers with something else. */
  answer(answer: Answer): void
  /** @returns False when the client has more to read than it should: no more until `onDrain`. */
  write(bytes: Uint8Array | string): boolean
  end(last?: string): void
  /** Cuts the response off, so that the client sees that it is not complete. */
  break(error: Error): void
}
