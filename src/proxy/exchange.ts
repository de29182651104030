import { type IncomingMessage, ServerResponse } from 'node:http'
import { finished } from 'node:stream'
import { asError, callReport, reasonOf, SseError } from '../errors.ts'
import { endToEndFields, type FieldLines } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import { redactUrl } from '../http/url.ts'
import { isRetryable } from '../reconnect/delay.ts'
import type { ResumeMode } from '../reconnect/options.ts'
import { clientKind, onDisconnect } from '../relay/client.ts'
import { breakOff, turnOf } from '../relay/node-response.ts'
import { relaySse } from '../relay/relay.ts'
import { isDecodable } from '../upstream/decode.ts'
import { discardBody, openUpstream, type UpstreamContext } from '../upstream/shapes.ts'
import {
  endAfterwards,
  flushHead,
  isSent,
  type ProxyRequest,
  type ProxyResponse,
  refuse,
} from './downstream.ts'
import { streamFields } from './forwarding.ts'
import type { CheckedProxyOptions } from './options.ts'
import { UpstreamRequest } from './upstream-request.ts'

/** One request, and what is made of its answer. */
export class Exchange {
  readonly #rules: CheckedProxyOptions
  readonly #req: ProxyRequest
  readonly #res: ProxyResponse
  readonly #request: UpstreamRequest
  readonly #kind: ReturnType<typeof clientKind>
  /** Whether the client must not get a status for a failure that passes. */
  readonly #reconnects: boolean
  #response: IncomingMessage | undefined
  #clientGone = false
  readonly #onClose = () => this.#leave()
  /** Ends listening to the client's connection. */
  #release = () => {}

  constructor(rules: CheckedProxyOptions, req: ProxyRequest, res: ProxyResponse, path: string) {
    this.#rules = rules
    this.#req = req
    this.#res = res
    this.#request = new UpstreamRequest(rules, req, res, path)
    this.#kind = clientKind(req)
    this.#reconnects = rules.relay.clientReconnects ?? this.#kind === 'reconnects'
  }

  /** Nothing is dialled for a request that waits behind others: one client could open any number of connections. */
  start(): void {
    this.#res.once('close', this.#onClose)
    this.#release = onDisconnect(this.#req, this.#onClose)
    const turn = turnOf(this.#res)
    if (turn) turn.then(() => this.#begin())
    else this.#begin()
  }

  #begin(): void {
    if (this.#clientGone) return
    this.#request.first().then(
      (response) => this.#onResponse(response),
      (error: unknown) => this.#onNoResponse(asError(error)),
    )
  }

  #onResponse(response: IncomingMessage): void {
    if (this.#clientGone) {
      discardBody(response)
      return
    }
    this.#response = response
    const fields = endToEndFields(response.rawHeaders)
    try {
      if (this.#obstacleTo(response) === undefined) this.#adopt(response, fields)
      else if (this.#reconnects && isTransient(response)) this.#relay({}, response)
      else this.#pass(response, fields)
    } catch (error) {
      // A head that a lenient parser has let in, and that cannot be written.
      discardBody(response)
      for (const name of fields.keys()) if (!this.#res.headersSent) this.#res.removeHeader(name)
      this.#onFailure(asError(error))
    }
  }

  /** Why a response is not read as an event stream; undefined for one that is. */
  #obstacleTo(response: IncomingMessage): string | undefined {
    if (!isEventStream(response.headersDistinct['content-type'])) return 'content type'
    if (this.#req.method === 'HEAD') return 'method HEAD'
    if (response.statusCode !== 200) return `status ${response.statusCode}`
    const { encodings } = openUpstream(response)
    return isDecodable(encodings) ? undefined : `content-encoding ${encodings.join(', ')}`
  }

  /** Passes an answer on as it is. */
  #pass(response: IncomingMessage, fields: FieldLines): void {
    const res = this.#res
    if (isEventStream(response.headersDistinct['content-type'])) this.#explain(this.#obstacleTo(response))
    if (this.#request.awaitsContinue) endAfterwards(this.#req, res)
    res.statusCode = response.statusCode ?? 502
    if (res instanceof ServerResponse) res.statusMessage = response.statusMessage ?? ''
    // RFC 9110, 8.6.
    if (res.statusCode === 204) fields.delete('content-length')
    for (const [name, lines] of fields) res.setHeader(name, lines)
    flushHead(res)
    // Not `pipeline`: it would end the response of an HTTP/1.0 client as if it were whole.
    response.pipe(res)
    finished(response, { writable: false }, (cause) => {
      if (!cause || this.#clientGone) return
      const message = `the upstream broke off its answer: ${reasonOf(cause)}`
      const error = new SseError('ERR_SSE_DROPPED', message, { cause })
      breakOff(res, error)
      this.#report(error)
    })
  }

  #adopt(response: IncomingMessage, fields: FieldLines): void {
    if (this.#request.hasBody || this.#req.method !== 'GET') {
      this.#explain(this.#request.hasBody ? 'a body' : `method ${this.#req.method}`)
    }
    this.#takeHead(fields)
    this.#relay({ initialResponse: response })
  }

  /** What the upstream said with its first event stream, the client is told. */
  #takeHead(fields: FieldLines): void {
    for (const [name, lines] of streamFields(fields)) this.#res.setHeader(name, lines)
  }

  /** @param failure - How the first dial failed, for a stream that none has opened for yet. */
  #relay(
    { initialResponse }: { readonly initialResponse?: IncomingMessage },
    failure?: IncomingMessage | SseError,
  ): void {
    const { relay, connectTimeout, logger } = this.#rules
    const res = this.#res
    // From here on it is for the relay to say what a client's leaving means.
    res.off('close', this.#onClose)
    this.#release()
    const resume = this.#resume
    let first = failure
    const factory = (context: UpstreamContext) => {
      const outcome = first
      first = undefined
      if (outcome instanceof SseError) throw outcome
      return outcome ?? this.#again(context)
    }
    relaySse(this.#req, res, Object.assign(factory, { url: this.#request.url }), {
      ...relay,
      resume,
      connectTimeout,
      logger,
      lastEventId: this.#request.lastEventId,
      // Where the last event may be missing, it says only when not to ask again.
      ...(resume === 'never' && relay.endWithoutTerminal === 'end' && { isTerminal: undefined }),
      ...(initialResponse && { initialResponse }),
    }).then(
      ({ error }) => error && this.#report(error),
      (fault: unknown) => {
        this.#report(asError(fault))
        res.destroy()
      },
    )
  }

  /** What may be sent once is sent once; what a program asks for is asked for again only from a place. */
  get #resume(): ResumeMode {
    if (this.#request.hasBody || this.#req.method !== 'GET') return 'never'
    return this.#rules.relay.resume ?? (this.#kind === 'program' ? 'with-cursor' : 'always')
  }

  async #again(context: UpstreamContext): Promise<IncomingMessage> {
    const response = await this.#request.again(context)
    if (!this.#res.headersSent && this.#obstacleTo(response) === undefined) {
      this.#takeHead(endToEndFields(response.rawHeaders))
    }
    return response
  }

  /** The client's connection is over, with its answer or without. */
  #leave(): void {
    this.#release()
    if (!isSent(this.#res) && !this.#response?.errored) this.#clientGone = true
    this.#request.abort()
  }

  #onNoResponse(error: Error): void {
    if (this.#clientGone) return
    if (!(error instanceof SseError)) {
      // Fields that a lenient parser has let in, and that cannot be sent.
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

  #explain(reason: string | undefined): void {
    const { method, url = '' } = this.#req
    this.#rules.logger?.info({ method, path: redactUrl(url), reason }, 'event stream passed on once')
  }

  #report(error: Error): void {
    callReport(() => this.#rules.onError?.(error, this.#req))
  }
}

/** Whether what an upstream answers may be over with another attempt. */
function isTransient({ statusCode }: IncomingMessage): boolean {
  const error = new SseError('ERR_SSE_STATUS', '', statusCode === undefined ? {} : { statusCode })
  return isRetryable(error, { passedOn: false, once: false })
}

function isTimeout(error: Error): boolean {
  return error instanceof SseError && error.code === 'ERR_SSE_CONNECT_TIMEOUT'
}
