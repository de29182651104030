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
  fieldLinesOf,
  lastEventIdFrom,
  outgoingFields,
  rawHeadersOf,
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

/** A request to the upstream. */
interface Dialled {
  readonly method: string
  readonly path: string
  readonly fields: FieldLines
  readonly signal: AbortSignal
  readonly onInformation?: ((information: InformationEvent) => void) | undefined
  /** Sends the body; undefined for a request without a body. */
  readonly body?: ((request: ClientRequest) => void) | undefined
}

/** Sends a request to the upstream, and resolves with the head of the response. */
export async function dialUpstream(
  { upstream, agent, host }: CheckedProxyOptions,
  { method, path, fields, signal, onInformation, body }: Dialled,
): Promise<IncomingMessage> {
  const response = await dialHttp({
    ...urlToHttpOptions(upstream),
    // Node would expect a certificate for the name in the Host field.
    ...(host === 'client' && { servername: isIP(upstream.hostname) ? '' : upstream.hostname }),
    method,
    path,
    headers: outgoingFields(fields),
    agent,
    signal,
    onInformation,
    body,
  })
  if (!isCodedResponse(response)) return response
  discardBody(response)
  throw new SseError('ERR_SSE_CONNECT', 'the upstream used an unknown transfer coding', { sent: true })
}

/** Sends a client's request to the upstream: first unchanged, and later to reopen its event stream. */
export class UpstreamRequest {
  readonly hasBody: boolean
  /** The last event ID that the client sent; `''` without one. */
  readonly lastEventId: string
  readonly #options: CheckedProxyOptions
  readonly #req: ProxyRequest
  readonly #res: ProxyResponse
  readonly #path: string
  /** The request's fields, names and values alternately. */
  readonly #rawHeaders: readonly string[]
  readonly #acceptsStream: boolean
  readonly #controller = new AbortController()
  #upload: Upload | undefined
  #deadline: Deadline | undefined
  #awaitsContinue: boolean

  constructor(options: CheckedProxyOptions, req: ProxyRequest, res: ProxyResponse, path: string) {
    this.#options = options
    this.#req = req
    this.#res = res
    this.#path = path
    this.hasBody = hasBody(req)
    this.#awaitsContinue = awaitsContinue(req)
    const fields = forwardedFields(req, options)
    const lastEventId = lastEventIdFrom(req) ?? ''
    const encoded = encodeLastEventId(lastEventId)
    this.lastEventId = encoded === undefined ? '' : lastEventId
    this.#acceptsStream = tokensOf(fields.get('accept')).some(isEventStream)
    if (this.#acceptsStream) {
      fields.delete('accept-encoding')
      if (encoded !== undefined && req.method === 'GET') fields.set('last-event-id', [encoded])
    }
    for (const [name, lines] of options.headers) fields.set(name, lines)
    this.#rawHeaders = rawHeadersOf(fields)
  }

  get url(): string {
    return this.#options.upstream.origin + this.#path
  }

  /** Whether the client still waits for a 100. */
  get awaitsContinue(): boolean {
    return this.#awaitsContinue
  }

  /** Sends the request with its body, and passes interim responses on. Fails when the upstream does not answer in time. */
  async send(): Promise<IncomingMessage> {
    this.#startDeadline()
    try {
      const onInformation = (information: InformationEvent) => this.#passInformation(information)
      const fields = fieldLinesOf(this.#rawHeaders)
      return await this.#dial(this.#path, fields, this.#controller.signal, onInformation)
    } finally {
      this.#endDeadline()
    }
  }

  /** Requests the rest of a stream. The client's credentials are sent again, because the upstream is the same. */
  reopen({ headers: { 'last-event-id': lastEventId }, signal }: UpstreamContext): Promise<IncomingMessage> {
    // The last event ID in the client's URL is out of date by now.
    const path = withoutLastEventId(this.#path)
    return this.#dial(path, resumedFields(fieldLinesOf(this.#rawHeaders), lastEventId), signal)
  }

  /** Destroys the first request and its response. */
  abort(): void {
    this.#controller.abort()
  }

  #dial(
    path: string,
    fields: FieldLines,
    signal: AbortSignal,
    onInformation?: (information: InformationEvent) => void,
  ): Promise<IncomingMessage> {
    return dialUpstream(this.#options, {
      method: this.#req.method ?? 'GET',
      path,
      fields,
      signal,
      onInformation,
      body: this.hasBody ? (request) => this.#startUpload(request) : undefined,
    })
  }

  #startUpload(request: ClientRequest): void {
    this.#upload = new Upload(this.#req, this.#res, request, () => this.#deadline?.refresh())
  }

  /** Aborts the request when the upstream does not answer in time. */
  #startDeadline(): void {
    const { connectTimeout, responseTimeout } = this.#options
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

  #endDeadline(): void {
    this.#deadline?.clear()
    this.#deadline = undefined
  }

  /**
   * Passes on a 100 that the client waits for, and the links of early hints (RFC 8297), which are all that Node can write of them.
   * An HTTP/1.0 client gets no interim responses (RFC 9110, 15.2).
   */
  #passInformation({ statusCode, rawHeaders }: InformationEvent): void {
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
      // Node cannot write this link. A hint may be lost.
    }
  }
}
