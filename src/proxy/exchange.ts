import type { IncomingMessage } from 'node:http'
import { asError, callReport, reasonOf, SseError } from '../errors.ts'
import { endToEndFields, type FieldLines, linesOf } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import { ShortAnswer } from '../http/short-answer.ts'
import { redactUrl } from '../http/url.ts'
import { isRetryable } from '../reconnect/delay.ts'
import type { ResumeMode } from '../reconnect/options.ts'
import { clientKind, hasDisconnected } from '../relay/client.ts'
import { breakOff, turnOf } from '../relay/node-response.ts'
import { relaySse } from '../relay/relay.ts'
import { isDecodable } from '../upstream/decode.ts'
import { discardBody, openUpstream, type UpstreamContext } from '../upstream/shapes.ts'
import { passAnswer, passShortAnswer, removeFields } from './answer.ts'
import {
  closeIfContinueAwaited,
  isSent,
  type ProxyRequest,
  type ProxyResponse,
  refuse,
} from './downstream.ts'
import { streamFields } from './forwarding.ts'
import type { CheckedProxyOptions } from './options.ts'
import { UpstreamRequest } from './upstream-request.ts'

/** The obstacle of every answer that is not meant to be an event stream. */
const notAStream = 'content type'

/** Passes one request to the upstream, and its answer to the client. */
export class Exchange {
  readonly #options: CheckedProxyOptions
  readonly #req: ProxyRequest
  readonly #res: ProxyResponse
  readonly #request: UpstreamRequest
  readonly #kind: ReturnType<typeof clientKind>
  /** Whether a transient failure is retried instead of answered: a client that reconnects would give up at an error status. */
  readonly #reconnects: boolean
  #response: IncomingMessage | ShortAnswer | undefined
  #isClientGone = false
  readonly #onClose = () => this.#onClientClose()

  constructor(options: CheckedProxyOptions, req: ProxyRequest, res: ProxyResponse, path: string) {
    this.#options = options
    this.#req = req
    this.#res = res
    this.#request = new UpstreamRequest(options, req, res, path)
    this.#kind = clientKind(req)
    this.#reconnects = options.relay.clientReconnects ?? this.#kind === 'reconnects'
  }

  /** A pipelined request waits for its turn: otherwise one client could open any number of upstream connections. */
  start(): void {
    this.#res.on('close', this.#onClose)
    const turn = turnOf(this.#res)
    if (turn) turn.then(() => this.#begin())
    else this.#begin()
  }

  #begin(): void {
    // Node gives a connection that is already closed to the next response, when the previous response was still being sent.
    if (hasDisconnected(this.#req)) return
    this.#request.send(!this.#reconnects).then(
      (answer) => this.#onAnswer(answer),
      (error: unknown) => this.#onNoResponse(asError(error)),
    )
  }

  #onAnswer(answer: IncomingMessage | ShortAnswer): void {
    this.#response = answer
    this.#request.endDeadline()
    try {
      if (answer instanceof ShortAnswer) passShortAnswer(answer, this.#res)
      else this.#onResponse(answer)
    } catch (error) {
      // A lenient parser accepts header fields that cannot be written, and node:http2 refuses some that are repeated.
      if (!(answer instanceof ShortAnswer)) discardBody(answer)
      removeFields(this.#res, endToEndFields(answer.rawHeaders))
      this.#onFailure(asError(error))
    }
  }

  #onResponse(response: IncomingMessage): void {
    const obstacle = this.#obstacleTo(response)
    if (obstacle === undefined) this.#relayStream(response)
    else if (this.#reconnects && isTransient(response)) this.#relay({}, response)
    else this.#passOn(response, obstacle)
  }

  /** Why a response is not relayed as an event stream; undefined when it is. */
  #obstacleTo(response: IncomingMessage): string | undefined {
    if (!isEventStream(linesOf(response.rawHeaders, 'content-type'))) return notAStream
    if (this.#req.method === 'HEAD') return 'method HEAD'
    if (response.statusCode !== 200) return `status ${response.statusCode}`
    const { encodings } = openUpstream(response)
    return isDecodable(encodings) ? undefined : `content-encoding ${encodings.join(', ')}`
  }

  /** Passes an answer on unchanged. */
  #passOn(response: IncomingMessage, obstacle: string): void {
    if (obstacle !== notAStream) this.#logPassedOnce(obstacle)
    if (this.#request.awaitsContinue) closeIfContinueAwaited(this.#req, this.#res)
    passAnswer(response, this.#res, (cause) => {
      if (this.#isClientGone) return
      const message = `the upstream broke off its answer: ${reasonOf(cause)}`
      const error = new SseError('ERR_SSE_DROPPED', message, { cause })
      breakOff(this.#res, error)
      this.#report(error)
    })
  }

  #relayStream(response: IncomingMessage): void {
    if (this.#request.hasBody || this.#req.method !== 'GET') {
      this.#logPassedOnce(this.#request.hasBody ? 'a body' : `method ${this.#req.method}`)
    }
    this.#setStreamFields(endToEndFields(response.rawHeaders))
    this.#relay({ initialResponse: response })
  }

  /** Gives the client the header fields of the upstream's first event stream. */
  #setStreamFields(fields: FieldLines): void {
    for (const [name, lines] of streamFields(fields)) this.#res.setHeader(name, lines)
  }

  /** @param failure - The failure of the first attempt, when no stream has opened yet. */
  #relay(
    { initialResponse }: { readonly initialResponse?: IncomingMessage },
    failure?: IncomingMessage | SseError,
  ): void {
    const { relay, connectTimeout, logger } = this.#options
    const res = this.#res
    // From here on the relay handles a client that disconnects.
    res.off('close', this.#onClose)
    this.#request.holdLess()
    const resume = this.#resume
    let firstFailure = failure
    const factory = (context: UpstreamContext) => {
      const outcome = firstFailure
      firstFailure = undefined
      if (outcome instanceof SseError) throw outcome
      return outcome ?? this.#reopen(context)
    }
    relaySse(this.#req, res, Object.assign(factory, { url: this.#request.url }), {
      ...relay,
      resume,
      connectTimeout,
      logger,
      lastEventId: this.#request.lastEventId,
      // 'never' does not reopen, and the terminal event need not come: `isTerminal` would have nothing to decide.
      ...(resume === 'never' && relay.endWithoutTerminal === 'end' && { isTerminal: undefined }),
      ...(initialResponse && { initialResponse }),
    }).then(
      ({ error }) => error && this.#report(error),
      (fault: unknown) => {
        this.#report(asError(fault))
        // After the head the relay itself breaks the response: destroying it here would look complete to an HTTP/1.0 client.
        if (!res.headersSent) res.destroy()
      },
    )
  }

  /** A request that must not be repeated is sent once. The stream of a program is reopened only with a cursor. */
  get #resume(): ResumeMode {
    if (this.#request.hasBody || this.#req.method !== 'GET') return 'never'
    const isProgram = this.#kind === 'program' && !this.#reconnects
    return this.#options.relay.resume ?? (isProgram ? 'with-cursor' : 'always')
  }

  async #reopen(context: UpstreamContext): Promise<IncomingMessage> {
    const response = await this.#request.reopen(context)
    if (!this.#res.headersSent && this.#obstacleTo(response) === undefined) {
      this.#setStreamFields(endToEndFields(response.rawHeaders))
    }
    return response
  }

  /** Called when the client's connection closes, before or after the answer was sent. */
  #onClientClose(): void {
    const response = this.#response
    if (response instanceof ShortAnswer) return
    if (!isSent(this.#res) && !response?.errored) this.#isClientGone = true
    if (!response?.readableEnded) this.#request.abort()
  }

  #onNoResponse(error: Error): void {
    this.#request.endDeadline()
    if (this.#isClientGone) return
    if (!(error instanceof SseError)) {
      // A lenient parser accepts header fields that cannot be sent.
      this.#report(error)
      refuse(this.#req, this.#res, 400)
    } else if (this.#reconnects) this.#relay({}, error)
    else this.#onFailure(error)
  }

  #onFailure(error: Error): void {
    if (this.#res.headersSent) breakOff(this.#res, error)
    else refuse(this.#req, this.#res, isTimeout(error) ? 504 : 502)
    this.#report(error)
  }

  #logPassedOnce(reason: string | undefined): void {
    const { method, url = '' } = this.#req
    this.#options.logger?.info({ method, path: redactUrl(url), reason }, 'event stream passed on once')
  }

  #report(error: Error): void {
    callReport(() => this.#options.onError?.(error, this.#req))
  }
}

/** Whether another attempt may get a different answer. */
function isTransient({ statusCode }: IncomingMessage): boolean {
  const error = new SseError('ERR_SSE_STATUS', '', statusCode === undefined ? {} : { statusCode })
  return isRetryable(error, { passedOn: false, once: false })
}

function isTimeout(error: Error): boolean {
  return error instanceof SseError && error.code === 'ERR_SSE_CONNECT_TIMEOUT'
}
