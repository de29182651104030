import {
  type ClientRequest,
  type IncomingMessage,
  type InformationEvent,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { pipeline } from 'node:stream'
import { urlToHttpOptions } from 'node:url'
import { asError, callReport, reasonOf, SseError } from '../errors.ts'
import { dialHttp } from '../http/dialer.ts'
import {
  encodeLastEventId,
  endToEndFields,
  type FieldLines,
  lastEventIdFrom,
  outgoingFields,
  tokensOf,
} from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import { onDisconnect } from '../relay/client.ts'
import { relaySse } from '../relay/relay.ts'
import { isDecodable } from '../upstream/decode.ts'
import { discardBody, openUpstream, type UpstreamContext, type UpstreamFactory } from '../upstream/shapes.ts'
import { forwardedFields, hasUnknownCoding, resumedFields, streamFields } from './forwarding.ts'
import type { CheckedProxyOptions } from './options.ts'

/** Answers without the upstream. */
export function refuse(req: IncomingMessage, res: ServerResponse, statusCode: number): void {
  // A client that is still sending reads the answer only if nobody closes on it.
  req.resume()
  if (res.destroyed) return
  // The upstream's may have been set, and may be what could not be written.
  res.statusMessage = STATUS_CODES[statusCode] ?? 'Error'
  res.writeHead(statusCode, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
  res.end(`${statusCode} ${STATUS_CODES[statusCode] ?? 'Error'}\n`)
}

/** One request, and what is made of its answer. */
export class Exchange {
  readonly #rules: CheckedProxyOptions
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #path: string
  readonly #fields: FieldLines
  readonly #hasBody: boolean
  readonly #lastEventId: string
  /** Ends the request to the upstream. */
  readonly #controller = new AbortController()
  /** The request to the upstream, where the client's body goes into it. */
  #upload: ClientRequest | undefined
  #response: IncomingMessage | undefined
  #timer: NodeJS.Timeout | undefined
  #sentAt = 0
  #clientGone = false
  readonly #onClose = () => this.#leave()
  /** Ends listening to the client's connection. */
  #release = () => {}

  constructor(rules: CheckedProxyOptions, req: IncomingMessage, res: ServerResponse, path: string) {
    this.#rules = rules
    this.#req = req
    this.#res = res
    this.#path = path
    const { 'transfer-encoding': coding, 'content-length': length = '0' } = req.headers
    this.#hasBody = coding !== undefined || Number(length) > 0
    this.#fields = forwardedFields(req, rules.upstream.host)
    const lastEventId = lastEventIdFrom(req) ?? ''
    const encoded = encodeLastEventId(lastEventId)
    this.#lastEventId = encoded === undefined ? '' : lastEventId
    if (tokensOf(this.#fields.get('accept')).some(isEventStream)) {
      this.#fields.delete('accept-encoding')
      if (encoded !== undefined && req.method === 'GET') this.#fields.set('last-event-id', [encoded])
    }
    for (const [name, lines] of rules.headers) this.#fields.set(name, lines)
  }

  start(): void {
    this.#res.once('close', this.#onClose)
    this.#release = onDisconnect(this.#req, this.#onClose)
    this.#watch()
    const inform = (information: InformationEvent) => this.#inform(information)
    this.#dial(this.#fields, this.#controller.signal, inform).then(
      (response) => this.#onResponse(response),
      (error: unknown) => this.#onNoResponse(asError(error)),
    )
  }

  #dial(
    fields: FieldLines,
    signal: AbortSignal,
    onInformation?: (information: InformationEvent) => void,
  ): Promise<IncomingMessage> {
    const { upstream, agent } = this.#rules
    return dialHttp({
      ...urlToHttpOptions(upstream),
      method: this.#req.method ?? 'GET',
      path: this.#path,
      headers: outgoingFields(fields),
      agent,
      signal,
      onInformation,
      body: this.#hasBody ? (request) => this.#sendBody(request) : undefined,
    })
  }

  /** Not `pipeline`: it would destroy `req`, and the client's connection with it, before an answer is out. */
  #sendBody(request: ClientRequest): void {
    const req = this.#req
    this.#upload = request
    // The answer may come before the body's first byte.
    request.flushHeaders()
    req.pipe(request)
    req.on('data', () => {
      this.#sentAt = performance.now()
    })
    const stop = () => {
      req.unpipe(request)
      req.resume()
    }
    request.on('error', stop)
    this.#res.once('close', () => {
      stop()
      // Who has answered to the end needs no more of it.
      if (!request.writableFinished) request.destroy()
    })
  }

  /** Gives up on an upstream that does not answer. */
  #watch(): void {
    const { connectTimeout } = this.#rules
    if (connectTimeout === 0) return
    this.#sentAt = performance.now()
    const check = () => {
      const left = this.#sentAt + connectTimeout - performance.now()
      if (left > 0 || this.#waitsForClient()) {
        this.#timer = setTimeout(check, left > 0 ? left : connectTimeout)
        return
      }
      const message = `the upstream gave no answer within ${connectTimeout} ms`
      this.#controller.abort(new SseError('ERR_SSE_CONNECT_TIMEOUT', message))
    }
    this.#timer = setTimeout(check, connectTimeout)
  }

  /** A client that is slow to send is not the upstream's fault. */
  #waitsForClient(): boolean {
    const upload = this.#upload
    return upload?.socket?.connecting === false && !upload.writableNeedDrain && !this.#req.complete
  }

  /**
   * Passes on early hints (RFC 8297), of which node can write the links. A client of HTTP/1.0 does not know interim
   * responses (RFC 9110, 15.2), and a 100 is between two neighbours: node has sent this client one.
   */
  #inform({ statusCode, rawHeaders }: InformationEvent): void {
    if (statusCode !== 103 || this.#req.httpVersionMinor === 0 || this.#res.headersSent) return
    const links = endToEndFields(rawHeaders).get('link') ?? []
    try {
      this.#res.writeEarlyHints({ link: links.flatMap((line) => line.split(/\s*,\s*(?=<)/)) })
    } catch {
      // A link that node does not know how to write. It was only a hint.
    }
  }

  #onResponse(response: IncomingMessage): void {
    clearTimeout(this.#timer)
    if (this.#clientGone) {
      discardBody(response)
      return
    }
    this.#response = response
    const fields = endToEndFields(response.rawHeaders)
    try {
      if (hasUnknownCoding(response)) throw new Error('the upstream used an unknown transfer coding')
      if (this.#isAdoptable(response)) this.#adopt(response, fields)
      else this.#pass(response, fields)
    } catch (error) {
      // A head that a lenient parser has let in, and that cannot be written.
      discardBody(response)
      for (const name of fields.keys()) if (!this.#res.headersSent) this.#res.removeHeader(name)
      this.#onFailure(asError(error))
    }
  }

  #isAdoptable(response: IncomingMessage): boolean {
    const { method } = this.#req
    if (response.statusCode !== 200 || method === 'HEAD') return false
    return isEventStream(response.headers['content-type']) && isDecodable(openUpstream(response).encodings)
  }

  #pass(response: IncomingMessage, fields: FieldLines): void {
    const res = this.#res
    res.statusCode = response.statusCode ?? 502
    res.statusMessage = response.statusMessage ?? ''
    // RFC 9110, 8.6.
    if (res.statusCode === 204) fields.delete('content-length')
    for (const [name, lines] of fields) res.setHeader(name, lines)
    res.flushHeaders()
    pipeline(response, res, (error) => {
      if (!error || this.#clientGone) return
      const message = `the upstream broke off its answer: ${reasonOf(error)}`
      this.#report(new SseError('ERR_SSE_DROPPED', message, { cause: error }))
    })
  }

  #adopt(response: IncomingMessage, fields: FieldLines): void {
    const { relay, connectTimeout, logger, upstream } = this.#rules
    const res = this.#res
    for (const [name, lines] of streamFields(fields)) res.setHeader(name, lines)
    // From here on it is for the relay to say what a client's leaving means.
    res.off('close', this.#onClose)
    this.#release()
    const once = this.#hasBody || this.#req.method !== 'GET'
    const factory: UpstreamFactory = (context) => this.#again(context)
    relaySse(this.#req, res, Object.assign(factory, { url: upstream.origin + this.#path }), {
      ...relay,
      ...(once && { resume: 'never' }),
      connectTimeout,
      logger,
      lastEventId: this.#lastEventId,
      initialResponse: response,
    }).then(
      ({ error }) => error && this.#report(error),
      (fault: unknown) => {
        this.#report(asError(fault))
        res.destroy()
      },
    )
  }

  /** To the same upstream, with its client's credentials: they stay there. */
  #again({ headers: { 'last-event-id': lastEventId }, signal }: UpstreamContext): Promise<IncomingMessage> {
    return this.#dial(resumedFields(this.#fields, lastEventId), signal)
  }

  /** The client's connection is over, with its answer or without. */
  #leave(): void {
    clearTimeout(this.#timer)
    this.#release()
    if (!this.#res.writableFinished && !this.#response?.errored) this.#clientGone = true
    this.#controller.abort()
  }

  #onNoResponse(error: Error): void {
    clearTimeout(this.#timer)
    if (this.#clientGone) return
    if (error instanceof SseError) {
      this.#onFailure(error)
    } else {
      // Fields that a lenient parser has let in, and that cannot be sent.
      this.#report(error)
      refuse(this.#req, this.#res, 400)
    }
  }

  #onFailure(error: Error): void {
    if (this.#res.headersSent) this.#res.destroy()
    else refuse(this.#req, this.#res, isTimeout(error) ? 504 : 502)
    this.#report(error)
  }

  #report(error: Error): void {
    callReport(() => this.#rules.onError?.(error, this.#req))
  }
}

function isTimeout(error: Error): boolean {
  return error instanceof SseError && error.code === 'ERR_SSE_CONNECT_TIMEOUT'
}
