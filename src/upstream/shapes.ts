import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { type HeaderFields, shown } from '../errors.ts'
import { breakWithRequest } from '../http/cut.ts'
import { linesOf } from '../http/fields.ts'
import { codingsOf } from './decode.ts'
import { isHttp2Stream, watchEndStream } from './http2-stream.ts'

/**
 * The attempt that a factory is called for.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, type UpstreamContext } from 'resilient-sse'
 *
 * const open = ({ cursor = '0', headers, signal }: UpstreamContext) =>
 *   fetch(`http://localhost:3000/events?after=${cursor}`, { headers, signal })
 * const source = createResilientSseSource(open)
 * ```
 */
export interface UpstreamContext {
  /** The number of the attempt in this outage, from 0. */
  readonly attempt: number
  /** The last event ID, as the HTML Standard defines it; `''` without one. */
  readonly lastEventId: string
  /** Where to resume: the last event ID, or the latest result of the option `cursor`; undefined when unknown. */
  readonly cursor: string | undefined
  /**
   * Header fields for the request: `accept`, `cache-control`, and `last-event-id`, as UTF-8 bytes. The field `last-event-id` is
   * absent without an id, and for an id that a header cannot carry: with control characters, or with spaces or tabs at its ends.
   */
  readonly headers: Readonly<Record<string, string>>
  /** Aborted when the attempt takes longer than `connectTimeout`, and when its connection is to be closed. */
  readonly signal: AbortSignal
  /** The drop or failure that this attempt follows; undefined for the stream's first attempt. */
  readonly lastError: Error | undefined
  /** The stream's option `fastPath`. Default true. */
  readonly fastPath?: boolean
}

/**
 * The members that identify a web ReadableStream, whose types differ between Node, browsers and versions of TypeScript.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, type WebByteStream } from 'resilient-sse'
 *
 * const recording = (): WebByteStream => new Blob(['data: hello\n\n']).stream()
 * const source = createResilientSseSource(recording, { resume: 'never' })
 * ```
 */
export interface WebByteStream {
  readonly locked: boolean
  cancel(reason?: unknown): Promise<void>
  getReader(): object
}

/**
 * The bytes of an event stream, whose status and content type are not checked. For a client's stream of node:http2 they are
 * checked: a factory returns the stream before its `response` event, or afterwards as the body of a {@link ResponseData}.
 *
 * @example
 * ```ts
 * import { createReadStream } from 'node:fs'
 * import { type ByteStream, createResilientSseSource } from 'resilient-sse'
 *
 * const recording = (): ByteStream => createReadStream('recording.txt')
 * const source = createResilientSseSource(recording, { resume: 'never' })
 * ```
 */
export type ByteStream = Readable | WebByteStream | AsyncIterable<Uint8Array | string>

/**
 * The members of a web `Response` that are used. Its body is already decoded.
 *
 * @example
 * ```ts
 * import type { ResponseLike, UpstreamFactory } from 'resilient-sse'
 *
 * const open: UpstreamFactory = ({ headers, signal }): Promise<ResponseLike> =>
 *   fetch('http://localhost:3000/events', { headers, signal })
 * ```
 */
export interface ResponseLike {
  readonly status: number
  readonly headers: {
    get(name: string): string | null
    forEach(callback: (value: string, name: string) => void): void
  }
  readonly body: ByteStream | null
  readonly url?: string
}

/**
 * The members that are used of the result of undici's `request()`; or a stream of node:http2 as `body`, with its head.
 *
 * @example
 * ```ts
 * import { type ResponseData, type UpstreamFactory } from 'resilient-sse'
 * import { request } from 'undici'
 *
 * const open: UpstreamFactory = ({ headers, signal }): Promise<ResponseData> =>
 *   request('http://localhost:3000/events', { headers, signal })
 * ```
 */
export interface ResponseData {
  readonly statusCode: number
  readonly headers: HeaderFields
  readonly body: ByteStream
}

/**
 * A response of node:http or node:https.
 *
 * @example
 * ```ts
 * import { once } from 'node:events'
 * import http from 'node:http'
 * import type { ResponseMessage, UpstreamFactory } from 'resilient-sse'
 *
 * const open: UpstreamFactory = async ({ headers, signal }): Promise<ResponseMessage> => {
 *   const [response] = await once(http.get('http://localhost:3000/events', { headers, signal }), 'response')
 *   return response
 * }
 * ```
 */
export type ResponseMessage = Readable & {
  readonly statusCode?: number | undefined
  readonly headers: HeaderFields
  readonly rawHeaders?: readonly string[] | undefined
  readonly url?: string | undefined
}

/**
 * Everything that a factory may return.
 *
 * @example
 * ```ts
 * import type { Upstream, UpstreamContext } from 'resilient-sse'
 *
 * const open = async ({ headers, signal }: UpstreamContext): Promise<Upstream> =>
 *   await fetch('http://localhost:3000/events', { headers, signal })
 * ```
 */
export type Upstream = ResponseLike | ResponseData | ResponseMessage | ByteStream

/**
 * Opens an upstream connection. Called once for each attempt.
 *
 * @example
 * ```ts
 * import { createResilientSseSource, type UpstreamFactory } from 'resilient-sse'
 *
 * const upstream: UpstreamFactory = ({ headers, signal }) =>
 *   fetch('http://localhost:3000/events', { headers, signal })
 * createResilientSseSource(upstream).pipe(process.stdout)
 * ```
 */
export interface UpstreamFactory {
  (context: UpstreamContext): Upstream | Promise<Upstream>
  /** The URL that the factory requests. Logs show it without credentials and query values. */
  readonly url?: string
  /** The request's method; decides whether the request may be sent again (RFC 9110, 9.2.2). Default `'GET'`. */
  readonly method?: string
}

/** An upstream of any shape, in a common form. */
export interface OpenedUpstream {
  /** Absent for a bare byte stream. */
  readonly statusCode: number | undefined
  readonly headers: HeaderFields
  /** The body, before content codings are decoded. */
  readonly body: Readable
  /** The content codings of a body that is still encoded, in the order of their application. */
  readonly encodings: readonly string[]
  /** The URL that answered, if it is known. */
  readonly url: string | undefined
  /** Called when the body has ended: whether its end is a cut. */
  readonly isCut: () => boolean
}

/**
 * Brings an upstream into the common form.
 *
 * @param who - The start of the error message, which says where the value came from.
 * @throws `TypeError` for a value that is not an upstream, and for a locked body.
 */
export function openUpstream(upstream: Upstream, who = 'the factory must return'): OpenedUpstream {
  if (typeof upstream !== 'object' || upstream === null) throw notAnUpstream(upstream, who)
  if ('status' in upstream && 'headers' in upstream && typeof upstream.headers.get === 'function') {
    const headers: Record<string, string> = {}
    upstream.headers.forEach((value, name) => {
      headers[name.toLowerCase()] = value
    })
    const body = upstream.body === null ? Readable.from([]) : readableOf(upstream.body, who)
    return opened(body, upstream.status, headers, upstream.url)
  }
  if ('statusCode' in upstream && typeof upstream.statusCode === 'number' && upstream.headers) {
    const { statusCode } = upstream
    const headers = headersOf(upstream)
    const body = 'body' in upstream ? readableOf(upstream.body, who) : upstream
    breakWithRequest(body)
    const url = 'url' in upstream ? upstream.url : undefined
    return { ...opened(body, statusCode, headers, url), encodings: codingsOf(headers) }
  }
  if (!isByteStream(upstream)) throw notAnUpstream(upstream, who)
  return opened(readableOf(upstream, who))
}

/** The header fields of a message, with all lines of its content type: `headers` of node:http has only the first line. */
function headersOf(message: ResponseData | ResponseMessage): HeaderFields {
  const rawHeaders = 'rawHeaders' in message ? message.rawHeaders : undefined
  const lines = linesOf(rawHeaders ?? [], 'content-type')
  return lines.length > 1 ? { ...message.headers, 'content-type': lines } : message.headers
}

function opened(
  body: Readable,
  statusCode?: number,
  headers: HeaderFields = {},
  url?: string,
): OpenedUpstream {
  const isCut = isHttp2Stream(body) ? watchEndStream(body) : isNeverCut
  return { statusCode, headers, body, encodings: [], url: url || undefined, isCut }
}

function isNeverCut(): boolean {
  return false
}

/** Closes an upstream that is not read, and so its socket. */
export function discardUpstream(upstream: Upstream): void {
  try {
    discardBody(openUpstream(upstream).body)
  } catch {
    // The value is not an upstream, or its body is locked: there is nothing to close.
  }
}

/** Destroys a body, and ignores its later errors. */
export function discardBody(body: Readable): void {
  body.on('error', () => {})
  body.destroy()
}

/** The bytes of a chunk. @throws `TypeError` for a chunk that is neither bytes nor text. */
export function bytesOf(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw new TypeError(`an upstream must yield bytes or strings, got ${shown(chunk)}`)
}

function readableOf(body: ByteStream, who: string): Readable {
  if (typeof body !== 'object' || body === null) throw notAnUpstream(body, who)
  if (isReadable(body)) return body
  if (isWebStream(body)) {
    if (body.locked) throw new TypeError(`${who} a body without another reader, got a locked one`)
    return Readable.fromWeb(body)
  }
  if (!(Symbol.asyncIterator in body)) throw notAnUpstream(body, who)
  // At most one chunk is read ahead. In object mode a chunk of a wrong type is passed on, and `bytesOf` rejects it.
  return Readable.from(body, { objectMode: true, highWaterMark: 1 })
}

function isWebStream(value: object): value is ReadableStream {
  return 'getReader' in value && 'locked' in value
}

function isByteStream(value: object): value is ByteStream {
  return isReadable(value) || isWebStream(value) || Symbol.asyncIterator in value
}

/** Also accepts streams of another copy of Node's stream module. */
function isReadable(value: object): value is Readable {
  return value instanceof Readable || ('pipe' in value && 'on' in value && 'destroy' in value)
}

function notAnUpstream(value: unknown, who: string): TypeError {
  return new TypeError(
    `${who} a Response, a node:http or undici response, or a byte stream, got ${shown(value)}`,
  )
}
