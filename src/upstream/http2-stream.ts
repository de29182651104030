import { constants, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2'
import type { Readable } from 'node:stream'
import { SseError } from '../errors.ts'

/** What is used of a client's stream of node:http2, besides its bytes. */
interface Http2Stream {
  /** Closed by either side, in whatever way. */
  readonly closed: boolean
  /** The code with which it was closed. */
  readonly rstCode: number
  /** END_STREAM came with the head. */
  readonly endAfterHeaders: boolean
  readonly state: object
  push(chunk: unknown, encoding?: BufferEncoding): boolean
}

/** A stream with the head of its response. */
interface Http2Response<S> {
  readonly statusCode: number
  readonly headers: IncomingHttpHeaders
  readonly body: S
}

export function isHttp2Stream(value: object): value is Http2Stream {
  return (
    'closed' in value &&
    typeof value.closed === 'boolean' &&
    'rstCode' in value &&
    typeof value.rstCode === 'number' &&
    'endAfterHeaders' in value &&
    typeof value.endAfterHeaders === 'boolean' &&
    'state' in value &&
    typeof value.state === 'object' &&
    value.state !== null &&
    'push' in value &&
    typeof value.push === 'function'
  )
}

/**
 * Waits for the head of a stream's response. A stream whose head came before it was given, and is nowhere to be found
 * any more, is taken for a bare byte stream as soon as its first bytes have come.
 *
 * @param signal - Destroys the stream.
 * @throws {@link SseError} `ERR_SSE_CONNECT` when the stream closes without a response.
 */
export function http2Response<S extends Readable & Http2Stream>(
  stream: S,
  signal: AbortSignal,
): Promise<S | Http2Response<S>> {
  return new Promise((resolve, reject) => {
    let cause: Error | undefined
    const onResponse = (headers: IncomingHttpHeaders & IncomingHttpStatusHeader) => {
      leave()
      resolve({ statusCode: headers[':status'] ?? 0, headers, body: stream })
    }
    const onReadable = () => {
      // At an end without bytes a read lets the stream close.
      if (stream.readableLength === 0) stream.read()
      else {
        leave()
        resolve(stream)
      }
    }
    const onError = (error: Error) => {
      cause = error
    }
    const onClose = () => {
      leave()
      reject(noResponseError(stream, cause))
    }
    const onAbort = () => stream.destroy()
    const leave = () => {
      stream.off('response', onResponse).off('readable', onReadable).off('close', onClose)
      signal.removeEventListener('abort', onAbort)
    }
    // Stays: what an error leads to is said by the stream's end.
    stream.on('error', onError)
    stream.once('response', onResponse).once('readable', onReadable).once('close', onClose)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    else if (stream.destroyed) onClose()
  })
}

function noResponseError({ rstCode }: Http2Stream, cause: Error | undefined): SseError {
  const reason = cause?.message ?? `the HTTP/2 stream closed without a response (code ${rstCode})`
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${reason}`, {
    ...(cause !== undefined && { cause }),
    // A refused stream was not processed (RFC 9113, 8.7).
    ...(rstCode === constants.NGHTTP2_REFUSED_STREAM && { sent: false }),
  })
}

/**
 * Watches for the flag END_STREAM, without which an answer is not complete (RFC 9113, 8.1).
 *
 * Node ends a stream in the same way when it is reset with NO_ERROR or CANCEL, when its session is destroyed, and when
 * the connection is closed. What differs is the order: only where the flag has come is the end pushed before the stream
 * is closed.
 *
 * @returns Whether the flag is missing, to be asked when the stream has ended. Of a stream that was closed before it
 * was given, and not by a reset that says so, it is not known to be.
 */
export function watchEndStream(stream: Http2Stream): () => boolean {
  const { push } = stream
  let hasEndStream = stream.endAfterHeaders || isClosedByPeer(stream)
  stream.push = (chunk, encoding) => {
    if (chunk === null && !stream.closed) hasEndStream = true
    return push.call(stream, chunk, encoding)
  }
  return () => !hasEndStream
}

function isClosedByPeer({ closed, rstCode, state }: Http2Stream): boolean {
  if (closed) return rstCode === constants.NGHTTP2_NO_ERROR
  return 'state' in state && state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE
}
