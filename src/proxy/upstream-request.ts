import type { ClientRequest, IncomingMessage, InformationEvent } from 'node:http'
import { SseError } from '../errors.ts'
import { Cancellation, type CancelSignal, cancelSignalOf } from '../http/cancellation.ts'
import { Deadline } from '../http/deadline.ts'
import { type Call, dialHttp } from '../http/dialer.ts'
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
import { ShortAnswer } from '../http/short-answer.ts'
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
  readonly signal: CancelSignal
  readonly onInformation?: ((information: InformationEvent) => void) | undefined
  /** Sends the body; undefined for a request without a body. */
  readonly body?: ((request: ClientRequest) => void) | undefined
}

/** Sends a request to the upstream, and resolves with the head of the response. */
export function dialUpstream(options: CheckedProxyOptions, dialled: Dialled): Promise<IncomingMessage> {
  return dialHttp(callOf(options, dialled)).then(checkCoding)
}

function callOf({ agent, address }: CheckedProxyOptions, { method, path, fields, ...rest }: Dialled): Call {
  return { ...rest, options: { ...address, method, path, headers: outgoingFields(fields), agent } }
}

function checkCoding(response: IncomingMessage): IncomingMessage {
  if (!isCodedResponse(response)) return response
  discardBody(response)
  throw new SseError('ERR_SSE_CONNECT', 'the upstream used an unknown transfer coding', { sent: true })
}

/** Most requests are for other types, and need no list of them. */
function acceptsStream(accept: readonly string[] = []): boolean {
  return accept.some((line) => /event-stream/i.test(line)) && tokensOf(accept).some(isEventStream)
}

/** Sends a client's request to the upstream: first as it came, and later to reopen its event stream. */
export class UpstreamRequest {
  readonly hasBody: boolean
  /** The last event ID that the client sent, also one that a field cannot carry; `''` without one. */
  readonly lastEventId: string
  readonly #options: CheckedProxyOptions
  readonly #req: ProxyRequest
  readonly #res: ProxyResponse
  readonly #path: string
  /** The request's fields until its answer is relayed. */
  #fields: FieldLines
  /** The request's fields after that, names and values alternately. */
  #rawHeaders: readonly string[] = []
  readonly #acceptsStream: boolean
  readonly #cancellation = new Cancellation()
  #upload: Upload | undefined
  #deadline: Deadline<UpstreamRequest> | undefined
  #awaitsContinue: boolean

  constructor(options: CheckedProxyOptions, req: ProxyRequest, res: ProxyResponse, path: string) {
    this.#options = options
    this.#req = req
    this.#res = res
    this.hasBody = hasBody(req)
    this.#awaitsContinue = awaitsContinue(req)
    const fields = forwardedFields(req, options)
    this.lastEventId = lastEventIdFrom(req) ?? ''
    const encoded = encodeLastEventId(this.lastEventId)
    this.#acceptsStream = acceptsStream(fields.get('accept'))
    if (this.#acceptsStream) fields.delete('accept-encoding')
    const opensStream = this.#acceptsStream && req.method === 'GET'
    if (opensStream && encoded !== undefined) fields.set('last-event-id', [encoded])
    // The place to resume from stands in one place: an upstream may prefer its URL to the field.
    this.#path = opensStream && this.lastEventId !== '' ? withoutLastEventId(path) : path
    for (const [name, lines] of options.headers) fields.set(name, lines)
    this.#fields = fields
  }

  get url(): string {
    return this.#options.upstream.origin + this.#path
  }

  /** Whether the client still waits for a 100. */
  get awaitsContinue(): boolean {
    return this.#awaitsContinue
  }

  /**
   * Sends the request with its body, and passes interim responses on. Fails when the upstream does not answer in time.
   *
   * @param takesShort - Whether an answer that has arrived as a whole may be given without a response of node:http.
   */
  send(takesShort: boolean): Promise<IncomingMessage | ShortAnswer> {
    this.#startDeadline()
    return (takesShort ? this.#sendDirectly() : undefined) ?? dialHttp(this.#firstCall()).then(checkCoding)
  }

  /**
   * Sends the request past node:http; undefined for one with a body, and for one that may be answered with an event stream, which must
   * have a response of node:http.
   */
  #sendDirectly(): Promise<IncomingMessage | ShortAnswer> | undefined {
    if (this.hasBody || this.#acceptsStream || this.#awaitsContinue || this.#req.method !== 'GET')
      return undefined
    return this.#options.direct
      ?.send({
        path: this.#path,
        fields: this.#fields,
        signal: this.#cancellation,
        call: () => this.#firstCall(),
      })
      ?.then((answer) => (answer instanceof ShortAnswer ? answer : checkCoding(answer)))
  }

  #firstCall(): Call {
    return callOf(this.#options, {
      method: this.#req.method ?? 'GET',
      path: this.#path,
      fields: this.#fields,
      signal: this.#cancellation,
      onInformation: (information) => this.#passInformation(information),
      body: this.hasBody ? (request) => this.#startUpload(request) : undefined,
    })
  }

  /** To be called when the upstream has answered, or will not answer. */
  endDeadline(): void {
    this.#deadline?.clear()
    this.#deadline = undefined
  }

  /** To be called before the answer is relayed, which may last for days: a map with its arrays takes five times the memory. */
  holdLess(): void {
    this.#rawHeaders = rawHeadersOf(this.#fields)
    this.#fields = new Map()
  }

  /** Requests the rest of a stream. The client's credentials are sent again, because the upstream is the same. */
  reopen(context: UpstreamContext): Promise<IncomingMessage> {
    const lastEventId = context.headers['last-event-id']
    // The last event ID in the client's URL is out of date by now.
    const path = withoutLastEventId(this.#path)
    const fields = resumedFields(fieldLinesOf(this.#rawHeaders), lastEventId)
    const method = this.#req.method ?? 'GET'
    return dialUpstream(this.#options, { method, path, fields, signal: cancelSignalOf(context) })
  }

  /** Destroys the first request and its response. */
  abort(): void {
    this.#cancellation.abort(new Error('the client disconnected'))
  }

  #startUpload(request: ClientRequest): void {
    this.#upload = new Upload(this.#req, this.#res, request, () => this.#deadline?.refresh())
  }

  /** Aborts the request when the upstream does not answer in time. */
  #startDeadline(): void {
    const { connectTimeout, responseTimeout } = this.#options
    const time = this.#acceptsStream ? connectTimeout : responseTimeout
    this.#deadline = new Deadline<UpstreamRequest>(time, UpstreamRequest.#onTime, this)
  }

  static #onTime(request: UpstreamRequest, limit: number): void {
    if (request.#upload?.waitsForClient) {
      request.#deadline?.refresh()
      return
    }
    const message = `the upstream gave no answer within ${limit} ms`
    request.#cancellation.abort(new SseError('ERR_SSE_CONNECT_TIMEOUT', message))
  }

  /**
   * Passes on a 100 that the client waits for, and the links of early hints (RFC 8297), which are all that Node can write of them.
   * An HTTP/1.0 client gets no interim responses (RFC 9110, 15.2).
   */
  #passInformation({ statusCode, rawHeaders }: InformationEvent): void {
    if (this.#res.headersSent || this.#cancellation.aborted) return
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
