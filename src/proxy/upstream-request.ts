import type { ClientRequest, IncomingMessage, InformationEvent } from 'node:http'
import { isIP } from 'node:net'
import { urlToHttpOptions } from 'node:url'
import { SseError } from '../errors.ts'
import { Deadline } from '../http/deadline.ts'
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
import { hasBody } from '../relay/client.ts'
import { discardBody, type UpstreamContext } from '../upstream/shapes.ts'
import { awaitsContinue, type ProxyRequest, type ProxyResponse } from './downstream.ts'
import { forwardedFields, isCodedResponse, resumedFields } from './forwarding.ts'
import type { CheckedProxyOptions } from './options.ts'
import { withoutLastEventId } from './target.ts'
import { Upload } from './upload.ts'

/** A client's request as it goes to the upstream: once as it came, and again for a stream that is reopened. */
export class UpstreamRequest {
  readonly hasBody: boolean
  /** Where the client's stream starts; `''` where it does not say. */
  readonly lastEventId: string
  readonly #rules: CheckedProxyOptions
  readonly #req: ProxyRequest
  readonly #res: ProxyResponse
  readonly #path: string
  readonly #fields: FieldLines
  readonly #acceptsStream: boolean
  readonly #controller = new AbortController()
  #upload: Upload | undefined
  #deadline: Deadline | undefined
  #awaitsContinue: boolean

  constructor(rules: CheckedProxyOptions, req: ProxyRequest, res: ProxyResponse, path: string) {
    this.#rules = rules
    this.#req = req
    this.#res = res
    this.#path = path
    this.hasBody = hasBody(req)
    this.#awaitsContinue = awaitsContinue(req)
    this.#fields = forwardedFields(req, rules)
    const lastEventId = lastEventIdFrom(req) ?? ''
    const encoded = encodeLastEventId(lastEventId)
    this.lastEventId = encoded === undefined ? '' : lastEventId
    this.#acceptsStream = tokensOf(this.#fields.get('accept')).some(isEventStream)
    if (this.#acceptsStream) {
      this.#fields.delete('accept-encoding')
      if (encoded !== undefined && req.method === 'GET') this.#fields.set('last-event-id', [encoded])
    }
    for (const [name, lines] of rules.headers) this.#fields.set(name, lines)
  }

  get url(): string {
    return this.#rules.upstream.origin + this.#path
  }

  /** Whether the client waits for a 100, and has not got one. */
  get awaitsContinue(): boolean {
    return this.#awaitsContinue
  }

  /** Sends it with its body, and passes interim responses on. Gives up when the time for an answer is over. */
  async first(): Promise<IncomingMessage> {
    this.#watch()
    try {
      const inform = (information: InformationEvent) => this.#inform(information)
      return await this.#dial(this.#path, this.#fields, this.#controller.signal, inform)
    } finally {
      this.#deadline?.clear()
    }
  }

  /** Asks for the rest of a stream, with its client's credentials: they stay with this upstream. */
  again({ headers: { 'last-event-id': lastEventId }, signal }: UpstreamContext): Promise<IncomingMessage> {
    // The stream has moved on from the place that its client named.
    const path = withoutLastEventId(this.#path)
    return this.#dial(path, resumedFields(this.#fields, lastEventId), signal)
  }

  /** Ends the first request, and its response. */
  abort(): void {
    this.#deadline?.clear()
    this.#controller.abort()
  }

  async #dial(
    path: string,
    fields: FieldLines,
    signal: AbortSignal,
    onInformation?: (information: InformationEvent) => void,
  ): Promise<IncomingMessage> {
    const { upstream, agent, host } = this.#rules
    const response = await dialHttp({
      ...urlToHttpOptions(upstream),
      // node would expect a certificate for what stands in the Host field.
      ...(host === 'client' && { servername: isIP(upstream.hostname) ? '' : upstream.hostname }),
      method: this.#req.method ?? 'GET',
      path,
      headers: outgoingFields(fields),
      agent,
      signal,
      onInformation,
      body: this.hasBody ? (request) => this.#send(request) : undefined,
    })
    if (!isCodedResponse(response)) return response
    discardBody(response)
    throw new SseError('ERR_SSE_CONNECT', 'the upstream used an unknown transfer coding', { sent: true })
  }

  #send(request: ClientRequest): void {
    this.#upload = new Upload(this.#req, this.#res, request, () => this.#deadline?.refresh())
  }

  /** Gives up on an upstream that does not answer. */
  #watch(): void {
    const { connectTimeout, responseTimeout } = this.#rules
    const time = this.#acceptsStream ? connectTimeout : responseTimeout
    this.#deadline = new Deadline(time, () => {
      if (this.#upload?.waitsForClient) {
        this.#deadline?.refresh()
        return
      }
      const message = `the upstream gave no answer within ${time} ms`
      this.#controller.abort(new SseError('ERR_SSE_CONNECT_TIMEOUT', message))
    })
  }

  /**
   * Passes on a 100 that the client waits for, and early hints (RFC 8297), of which node can write the links. A client of
   * HTTP/1.0 does not know interim responses (RFC 9110, 15.2).
   */
  #inform({ statusCode, rawHeaders }: InformationEvent): void {
    if (this.#res.headersSent || this.#controller.signal.aborted) return
    if (statusCode === 100 && this.#awaitsContinue) {
      this.#awaitsContinue = false
      this.#res.writeContinue()
    }
    if (statusCode !== 103 || this.#req.httpVersion === '1.0') return
    const links = endToEndFields(rawHeaders).get('link') ?? []
    try {
      this.#res.writeEarlyHints({ link: links.flatMap((line) => line.split(/\s*,\s*(?=<)/)) })
    } catch {
      // A link that node does not know how to write. It was only a hint.
    }
  }
}
