import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { type HeaderFields, shown } from '../errors.ts'
import { breakWithRequest } from '../http/cut.ts'
import { linesOf } from '../http/fields.ts'
import { codingsOf } from './decode.ts'
import { isHttp2Stream, watchEndStream } from './http2-stream.ts'

/** What a factory is told about the attempt that it is called for. */
export interface UpstreamContext {
  /** Number of the attempt, 0 being the first of an outage. */
  readonly attempt: number
  /** The last event ID as the standard defines it; `''` when there is none. */
  readonly lastEventId: string
  /** Where to resume: the last event ID, or what `cursor(event)` last gave; undefined when unknown. */
  readonly cursor: string | undefined
  /**
   * Ready to spread into a request: `accept`, `cache-control`, and, where there is one, `last-event-id` as UTF-8 bytes.
   * A header cannot carry an id with control characters, nor spaces or tabs at its ends; the field is left out then.
   */
  readonly headers: Readonly<Record<string, string>>
  /** Aborted when the attempt takes longer than `connectTimeout`, and when its connection is to be closed. */
  readonly signal: AbortSignal
  /** What made this attempt necessary; undefined for the first. */
  readonly lastError: Error | undefined
}

/** What tells a web ReadableStream; the types of it differ between Node, browsers and versions of TypeScript. */
export interface WebByteStream {
  readonly locked: boolean
  cancel(reason?: unknown): Promise<void>
  getReader(): object
}

/**
 * The bytes of an event stream, for which no status and no type is checked. Of a client's stream of node:http2 both are:
 * a factory returns it before its `response` event, or {@link ResponseData} around it afterwards.
 */
export type ByteStream = Readable | WebByteStream | AsyncIterable<Uint8Array | string>

/** What is used of a web `Response`, whose body is decoded already. */
export interface ResponseLike {
  readonly status: number
  readonly headers: {
    get(name: string): string | null
    forEach(callback: (value: string, name: string) => void): void
  }
  readonly body: ByteStream | null
  readonly url?: string
}

/** What is used of undici's `request()` result; also a stream of node:http2, as `body`, with its head. */
export interface ResponseData {
  readonly statusCode: number
  readonly headers: HeaderFields
  readonly body: ByteStream
}

/** A readable node:http response. */
export type ResponseMessage = Readable & {
  readonly statusCode?: number | undefined
  readonly headers: HeaderFields
  readonly rawHeaders?: readonly string[] | undefined
  readonly url?: string | undefined
}

/** Everything that a factory may return. */
export type Upstream = ResponseLike | ResponseData | ResponseMessage | ByteStream

/** Opens an upstream connection. Called once for each attempt. */
export interface UpstreamFactory {
  (context: UpstreamContext): Upstream | Promise<Upstream>
  /** Where it connects to, for logs; they show it without credentials and query values. */
  readonly url?: string
  /** The request's method; decides whether the request may be sent again (RFC 9110, 9.2.2). Default `'GET'`. */
  readonly method?: string
}

/** An upstream of whatever shape, seen in one way. */
export interface OpenedUpstream {
  /** Absent for a bare byte stream. */
  readonly statusCode: number | undefined
  readonly headers: HeaderFields
  /** The body as it came. */
  readonly body: Readable
  /** The content codings of a body that is still encoded, in the order of their application. */
  readonly encodings: readonly string[]
  /** The URL that answered, where it is known. */
  readonly url: string | undefined
  /** Whether the body, which has ended, was cut off there. */
  readonly isCut: () => boolean
}

/**
 * @param who - What the error's message says of where it came from.
 * @throws `TypeError` for what is no upstream.
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

/** The fields of a message, its content type with all lines: in `headers` node:http has the first one only. */
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
  const isCut = isHttp2Stream(body) ? watchEndStream(body) : () => false
  return { statusCode, headers, body, encodings: [], url: url || undefined, isCut }
}

/** Lets go of an upstream that nobody will read: its socket closes. */
export function discardUpstream(upstream: Upstream): void {
  try {
    discardBody(openUpstream(upstream).body)
  } catch {
    // Not an upstream, or its body is somebody else's: there is nothing to close.
  }
}

/** Closes a body without its late errors reaching anybody. */
export function discardBody(body: Readable): void {
  body.on('error', () => {})
  body.destroy()
}

/** A chunk of a body. @throws `TypeError` for what is neither bytes nor text. */
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
    if (body.locked) throw new TypeError(`${who} a body that nobody else reads, got a locked one`)
    return Readable.fromWeb(body)
  }
  if (!(Symbol.asyncIterator in body)) throw notAnUpstream(body, who)
  // One chunk ahead at most, and chunks as they are: what is not bytes is found where they are read.
  return Readable.from(body, { objectMode: true, highWaterMark: 1 })
}

function isWebStream(value: object): value is ReadableStream {
  return 'getReader' in value && 'locked' in value
}

function isByteStream(value: object): value is ByteStream {
  return isReadable(value) || isWebStream(value) || Symbol.asyncIterator in value
}

/** Also streams of another copy of Node's stream module. */
function isReadable(value: object): value is Readable {
  return value instanceof Readable || ('pipe' in value && 'on' in value && 'destroy' in value)
}

function notAnUpstream(value: unknown, who: string): TypeError {
  return new TypeError(
    `${who} a Response, a node:http or undici response, or a byte stream, got ${shown(value)}`,
  )
}
