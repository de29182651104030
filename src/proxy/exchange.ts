import http, { type ClientRequest, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import https from 'node:https'
import { pipeline } from 'node:stream'
import { asError, callReport, SseError } from '../errors.ts'
import { encodeLastEventId, lastEventIdFrom, tokensOf } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import { onDisconnect } from '../relay/client.ts'
import { relaySse } from '../relay/relay.ts'
import { isDecodable } from '../upstream/decode.ts'
import { discardBody, openUpstream, type UpstreamContext, type UpstreamFactory } from '../upstream/shapes.ts'
import { endToEndFields, type FieldLines, forwardedFields, hasUnknownCoding } from './forwarding.ts'
import type { CheckedProxyOptions } from './options.ts'

/** Conditions on, and parts of, a representation: nothing that an event stream that goes on is asked for. */
const conditionalFields = [
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'if-range',
  'range',
]

/** Fields that are about the body, or the moment, of the one answer that was adopted. */
const bodyFields = ['content-length', 'content-encoding', 'date', 'age']

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
  #request: ClientRequest | undefined
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
    this.#send(true)
  }

  #send(again: boolean): void {
    let request: ClientRequest
    try {
      request = this.#open(this.#fields)
    } catch (error) {
      // Fields that a lenient parser has let in, and that cannot be sent.
      this.#report(asError(error))
      refuse(this.#req, this.#res, 400)
      return
    }
    this.#request = request
    let failed = false
    request.once('response', (response) => this.#onResponse(response))
    request.on('error', (error) => {
      failed = true
      if (this.#response || this.#clientGone) return
      clearTimeout(this.#timer)
      // The upstream has closed a connection that was kept alive, just when we were about to use it.
      if (again && request.reusedSocket && !isTimeout(error) && this.#isRepeatable()) this.#send(false)
      else this.#onFailure(connectError(error))
    })
    request.on('close', () => {
      if (failed || this.#response || this.#clientGone) return
      clearTimeout(this.#timer)
      this.#onFailure(connectError(noResponse()))
    })
    this.#watch(request)
    if (this.#hasBody) this.#sendBody(request)
    else request.end()
  }

  #open(fields: FieldLines, signal?: AbortSignal): ClientRequest {
    const { upstream, agent } = this.#rules
    const client = upstream.protocol === 'https:' ? https : http
    return client.request(upstream, {
      method: this.#req.method ?? 'GET',
      path: this.#path,
      // Of `host` node:http wants a string.
      headers: Object.fromEntries(
        [...fields].map(([name, [line = '', ...more]]) => [name, more.length > 0 ? [line, ...more] : line]),
      ),
      agent,
      ...(signal && { signal }),
    })
  }

  /** RFC 9110, 9.2.2: only such a request may be sent again unasked. */
  #isRepeatable(): boolean {
    return !this.#hasBody && ['GET', 'HEAD', 'OPTIONS'].includes(this.#req.method ?? '')
  }

  /** Not `pipeline`: it would destroy `req`, and the client's connection with it, before an answer is out. */
  #sendBody(request: ClientRequest): void {
    const req = this.#req
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

  /** Gives up on an upstream that does not answer; a client that is slow to send is not its fault. */
  #watch(request: ClientRequest): void {
    const { connectTimeout } = this.#rules
    if (connectTimeout === 0) return
    this.#sentAt = performance.now()
    const check = () => {
      const left = this.#sentAt + connectTimeout - performance.now()
      const waitsForClient =
        !this.#req.complete && request.socket?.connecting === false && !request.writableNeedDrain
      if (left > 0 || (this.#hasBody && waitsForClient)) {
        this.#timer = setTimeout(check, left > 0 ? left : connectTimeout)
        return
      }
      const message = `the upstream gave no answer within ${connectTimeout} ms`
      request.destroy(new SseError('ERR_SSE_CONNECT_TIMEOUT', message))
    }
    this.#timer = setTimeout(check, connectTimeout)
  }

  #onResponse(response: IncomingMessage): void {
    clearTimeout(this.#timer)
    this.#response = response
    const fields = endToEndFields(response.rawHeaders)
    try {
      if (response.statusCode === 101) throw new Error('the upstream changed protocols unasked')
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
      const message = `the upstream broke off its answer: ${error.message}`
      this.#report(new SseError('ERR_SSE_DROPPED', message, { cause: error }))
    })
  }

  #adopt(response: IncomingMessage, fields: FieldLines): void {
    const { relay, connectTimeout, logger, upstream } = this.#rules
    const res = this.#res
    for (const name of bodyFields) fields.delete(name)
    for (const [name, lines] of fields) res.setHeader(name, lines)
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
  /** The same request, from where the stream is. To the same upstream, with its client's credentials: they stay there. */
  #again({ headers: { 'last-event-id': lastEventId }, signal }: UpstreamContext): Promise<IncomingMessage> {
    const fields = new Map(this.#fields)
    for (const name of [...conditionalFields, 'last-event-id']) fields.delete(name)
    if (lastEventId !== undefined) fields.set('last-event-id', [lastEventId])
    return new Promise((resolve, reject) => {
      this.#open(fields, signal)
        .on('response', resolve)
        .on('error', reject)
        .on('close', () => reject(noResponse()))
        .end()
    })
  }

  /** The client's connection is over, with its answer or without. */
  #leave(): void {
    clearTimeout(this.#timer)
    this.#release()
    if (!this.#res.writableFinished && !this.#response?.errored) this.#clientGone = true
    this.#request?.destroy()
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

function connectError(cause: Error): SseError {
  if (cause instanceof SseError) return cause
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${cause.message}`, { cause })
}

/** Of an answer that is none, such as 101, nothing but the close is left. */
const noResponse = () => new Error('the connection closed without a response')

function isTimeout(error: Error): boolean {
  return error instanceof SseError && error.code === 'ERR_SSE_CONNECT_TIMEOUT'
}
