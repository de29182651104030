import { asError, type HeaderFields } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'
import { serializeEvent } from '../wire/event.ts'
import { type ClientRequestLike, clientKind, hasBody } from './client.ts'
import type { Downstream, DownstreamListener, ResponseFields } from './downstream.ts'
import { answerTo, failureOf, faultOf, isTransient, streamFields } from './head.ts'
import type { ReplyOptions, ReplyOutcome, ReplyOwner, ReplyPhase } from './reply-owner.ts'

/** Shared by all responses, because a string would be converted for each. */
const emptyComment = Buffer.from(':\n')

/**
 * The response to one client: decides when the head is sent and what a failure looks like, and sends lines between the
 * events: heartbeats, status events and reconnection times.
 */
export class Reply implements DownstreamListener {
  readonly #request: ClientRequestLike
  readonly #downstream: Downstream
  readonly #options: ReplyOptions
  /** The longest delay that the upstream's Retry-After can set for a client, in milliseconds. */
  readonly #maxRetryAfter: number
  readonly #owner: ReplyOwner
  /** Whether the client reconnects by itself, and must not get an error status for a transient failure. */
  readonly #reconnects: boolean
  #phase: ReplyPhase = 'head'
  #outcome: ReplyOutcome = 'client-gone'
  /** The latest time, on the clock of `performance.now()`, at which a retry may be due before the head is sent. */
  #headUntil = 0
  #headDeadline: Deadline<Reply> | undefined
  #heartbeat: Deadline<Reply> | undefined
  /** Whether bytes were written after the head. */
  #hasWritten = false
  /** Whether the latest status of the connection that was sent is `reconnecting`. */
  #sentReconnecting = false
  /** Resolves the promise of `room`. */
  #onRoom: (() => void) | undefined

  constructor(
    request: ClientRequestLike,
    downstream: Downstream,
    options: ReplyOptions,
    maxRetryAfter: number,
    owner: ReplyOwner,
  ) {
    this.#request = request
    this.#downstream = downstream
    this.#options = options
    this.#maxRetryAfter = maxRetryAfter
    this.#owner = owner
    this.#reconnects = options.clientReconnects ?? clientKind(request) === 'reconnects'
  }

  get phase(): ReplyPhase {
    return this.#phase
  }

  /** Whether the client can be expected to come back after its response has ended. */
  get mayReturn(): boolean {
    const { clientReconnects } = this.#options
    if (this.#phase === 'over') return false
    if (this.#phase === 'head') return this.#reconnects
    return clientReconnects ?? (!hasBody(this.#request) && clientKind(this.#request) !== 'program')
  }

  /** Listens to the client. For a client that has disconnected already, the reply is over at once. */
  listen(): void {
    if (this.#downstream.isClosed) this.#settle()
    else this.#downstream.listen(this)
  }

  /** Waits for the response's turn, sends the head as far as the option `head` says so, and lets the owner begin. */
  begin(): void {
    // A request that waits behind another on its connection (pipelining) must not occupy an upstream connection.
    const turn = this.#downstream.turn()
    if (turn) turn.then(() => this.#guard(() => this.#begin()))
    else this.#guard(() => this.#begin())
  }

  /**
   * Sends the head, unless it was sent. Heartbeats start, and later failures can no longer be answered with a status.
   *
   * @param upstream - The upstream's header fields, if they are known.
   */
  open(upstream?: HeaderFields): void {
    if (this.#phase !== 'head') return
    this.#phase = 'open'
    this.#headDeadline?.clear()
    this.#headDeadline = undefined
    this.#downstream.open(this.#headFields(upstream))
    const { heartbeat, retry } = this.#options
    if (heartbeat > 0) this.#heartbeat = new Deadline<Reply>(heartbeat, Reply.#onSilence, this, false)
    if (retry !== undefined) this.retry(retry)
    this.#owner.onHead()
  }

  /**
   * Called before each write to the client: the next heartbeat is due later.
   *
   * @returns What to write; undefined when nothing may be written.
   */
  prepare(bytes: Buffer): Buffer | undefined {
    if (this.#phase !== 'open') return undefined
    // A client strips a byte order mark only from the start of the response, not after a line of our own.
    const isMarked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
    const written = isMarked && this.#hasWritten ? bytes.subarray(3) : bytes
    this.#onWrite()
    return written
  }

  /**
   * @param isShared - Whether the bytes never change, and are written to many responses.
   * @returns Whether the client has room for more, or nothing can be written.
   */
  write(bytes: Uint8Array | string, isShared = false): boolean {
    if (this.#phase !== 'open') return true
    this.#onWrite()
    return this.#downstream.write(bytes, isShared)
  }

  /** Resolves when the client has room for more bytes, or the client disconnects, or the response is complete. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  /** Sends one line without a blank line: some clients read every blank line as an event. */
  retry(milliseconds: number): void {
    this.write(`retry: ${milliseconds}\n`)
  }

  /** Sends a comment, except to a client that does not read: it needs no further bytes. */
  heartbeat(): void {
    if (!this.#downstream.isBehind && this.#owner.isBetweenBlocks) this.write(emptyComment)
  }

  status(status: 'reconnecting' | 'live' | 'gap'): void {
    if (this.#phase !== 'open') return
    if (status !== 'gap') {
      const isReconnecting = status === 'reconnecting'
      if (isReconnecting === this.#sentReconnecting) return
      this.#sentReconnecting = isReconnecting
    }
    if (!this.#options.statusEvents) return
    this.write(serializeEvent({ event: 'relay-status', data: JSON.stringify({ status }) }))
  }

  /** Whether the client may wait for a retry that is due after this many milliseconds, or must be answered before. */
  mayWait(delay: number): boolean {
    if (this.#phase !== 'head' || this.#headDeadline) return true
    return performance.now() + delay <= this.#headUntil
  }

  /** Ends the response; before the head with 204, after which an EventSource does not reconnect (HTML, 9.2.3). */
  end(): void {
    if (this.#phase === 'head') this.noContent()
    else if (this.#phase === 'open') this.#endWith('ended')
    else if (this.#phase === 'disconnected') this.close()
  }

  /** Answers with 204 instead of an event stream. */
  noContent(): void {
    this.#complete('refused')
    this.#downstream.answer({ status: 204, fields: new Map(), body: undefined })
  }

  /** Answers with a status instead of an event stream: that of the option `refusal`, or one that the error implies. */
  refuse(error: Error): void {
    this.#complete('refused')
    try {
      this.#downstream.answer(answerTo(error, this.#options.refusal?.(error)))
    } catch (thrown) {
      this.#settle(asError(thrown))
    }
  }

  /**
   * Makes a failure visible to the client: before the head by a status, or for a client that reconnects and a transient
   * failure by a 200 with a reconnection time; after the head by the option `errorEvent`, or by a broken response. An error of
   * the caller's code before the head leaves the response unchanged.
   */
  fail(error: Error): void {
    if (this.#phase === 'over') return
    const fault = faultOf(error)
    if (this.#phase === 'open') this.#sendFailure(error, fault)
    else if (this.#phase === 'disconnected' || fault) this.#settle(fault)
    // An EventSource fails permanently for any status but 200; nginx turns a connection closed without an answer into a 502.
    else if (this.#reconnects && isTransient(error)) {
      const { retryAfter = this.#options.retry ?? 1000 } = failureOf(error)
      const delay = Math.ceil(Math.min(retryAfter, this.#maxRetryAfter) * (1 + Math.random()))
      this.#endWith('failed', delay)
    } else this.refuse(error)
  }

  /**
   * Lets the client go, for a drain.
   *
   * @param retry - The reconnection time for the client, in milliseconds.
   * @returns Whether the response was ended: false for a client that had disconnected.
   */
  dismiss(retry: number): boolean {
    const isConnected = this.#phase !== 'disconnected'
    if (isConnected) this.#endWith('drained', retry)
    else this.close()
    return isConnected
  }

  /** Ends the reply to a client that has disconnected. */
  close(): void {
    this.#settle()
  }

  onDrain(): void {
    this.#endWait()
    this.#owner.onRoom()
  }

  onFinish(): void {
    // An HTTP/2 response also emits `finish` when its client resets the stream, so this counts only after our own end.
    if (this.#phase === 'over') this.#settle()
  }

  onClose(): void {
    if (this.#phase === 'over') this.#settle()
    else if (this.#phase !== 'disconnected') this.#disconnect()
  }

  #disconnect(): void {
    this.#phase = 'disconnected'
    this.#stopTimers()
    this.#owner.onDisconnect()
  }

  #begin(): void {
    if (this.#phase === 'over') return
    // Node gives a closed connection to a waiting response when the client leaves while the end of the response before is sent.
    if (this.#downstream.isClosed) {
      this.#settle()
      return
    }
    if (this.#request.method === 'HEAD') {
      this.#downstream.open(this.#headFields())
      this.#endWith('ended')
      return
    }
    const { head, headTimeout } = this.#options
    const isPatient = head === 'auto' && this.#reconnects
    if (head === 'eager' || this.#downstream.isHeadOut || (isPatient && headTimeout === 0)) this.open()
    else if (isPatient)
      this.#headDeadline = new Deadline<Reply>(headTimeout, Reply.#onHeadTimeout, this, false)
    else this.#headUntil = performance.now() + headTimeout
    if (this.phase !== 'over') this.#owner.onBegin()
    // A factory that reads the request's body has started to do so in its first call.
    setImmediate(() => this.#downstream.discardRequestBody())
  }

  #headFields(upstream?: HeaderFields): ResponseFields {
    const fields = streamFields(this.#downstream, upstream)
    const { headFields } = this.#owner
    return headFields ? new Map([...headFields, ...fields]) : fields
  }

  /** Catches errors while the head is sent: a function of the caller, or middleware of the response, may throw. */
  #guard(act: () => void): void {
    try {
      act()
    } catch (thrown) {
      const fault = asError(thrown)
      this.#owner.onFault(fault)
      if (this.#phase === 'open') this.#sendFailure(fault, fault)
      else this.#settle(fault)
    }
  }

  #onWrite(): void {
    this.#hasWritten = true
    this.#heartbeat?.refresh()
  }

  static #onHeadTimeout(reply: Reply): void {
    reply.#guard(() => reply.open())
  }

  static #onSilence(reply: Reply): void {
    reply.heartbeat()
    reply.#heartbeat?.refresh()
  }

  #sendFailure(error: Error, fault: Error | undefined): void {
    this.#complete('failed')
    try {
      const event = this.#owner.isBetweenBlocks ? this.#options.errorEvent?.(error) : undefined
      if (event === undefined) this.#downstream.break(error)
      else this.#downstream.end(serializeEvent(event))
      if (fault) this.#settle(fault)
    } catch (thrown) {
      this.#downstream.break(error)
      this.#settle(asError(thrown))
    }
  }

  /** @param retry - The reconnection time for the client, in milliseconds. */
  #endWith(outcome: ReplyOutcome, retry?: number): void {
    if (retry !== undefined) {
      if (this.#phase === 'head') this.#downstream.open(this.#headFields())
      this.#downstream.write(`retry: ${retry}\n`)
    }
    this.#complete(outcome)
    this.#downstream.end()
  }

  /** Called before the response's last bytes. */
  #complete(outcome: ReplyOutcome): void {
    this.#phase = 'over'
    this.#outcome = outcome
    this.#stopTimers()
  }

  #stopTimers(): void {
    this.#headDeadline?.clear()
    this.#heartbeat?.clear()
    this.#endWait()
  }

  #endWait(): void {
    this.#onRoom?.()
    this.#onRoom = undefined
  }

  #settle(fault?: Error): void {
    this.#phase = 'over'
    this.#stopTimers()
    this.#owner.onOver(this.#outcome, fault)
  }
}
