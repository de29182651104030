import { constants, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2'
import type { Readable } from 'node:stream'
import { reasonOf, SseError } from '../errors.ts'
import type { CancelSignal } from '../http/cancellation.ts'

/** The members of a client's stream of node:http2 that are used, besides its bytes. */
interface Http2Stream {
  /** Whether one of the sides has closed the stream. */
  readonly closed: boolean
  /** The error code with which the stream was closed. */
  readonly rstCode: number
  /** Whether END_STREAM came with the head. */
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
 * Waits for the head of a stream's response. If the head came before the factory returned the stream, Node does not have it
 * any more: the stream is then used as a bare byte stream when its first bytes arrive.
 *
 * @param signal - Destroys the stream.
 * @throws {@link SseError} `ERR_SSE_CONNECT` when the stream closes without a response.
 */
export function http2Response<S extends Readable & Http2Stream>(
  stream: S,
  signal: CancelSignal,
): Promise<S | Http2Response<S>> {
  return new Promise((resolve, reject) => {
    let cause: Error | undefined
    const onResponse = (headers: IncomingHttpHeaders & IncomingHttpStatusHeader) => {
      leave()
      resolve({ statusCode: headers[':status'] ?? 0, headers, body: stream })
    }
    const onReadable = () => {
      // Without bytes the stream has ended, and closes only after a read.
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
    // Not removed: every error is followed by `close`, and an error without a listener would end the process.
    stream.on('error', onError)
    stream.once('response', onResponse).once('readable', onReadable).once('close', onClose)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    else if (stream.destroyed) onClose()
  })
}

function noResponseError({ rstCode }: Http2Stream, cause: Error | undefined): SseError {
  const reason = cause ? reasonFor(cause) : `the HTTP/2 stream closed without a response (code ${rstCode})`
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${reason}`, {
    ...(cause !== undefined && { cause }),
    // A refused stream was not processed (RFC 9113, 8.7).
    ...(rstCode === constants.NGHTTP2_REFUSED_STREAM && { sent: false }),
  })
}

/**
 * The reason why a stream has failed. When its session cannot connect, Node's message quotes that of the session's error, which
 * is empty when all addresses of a host fail.
 */
function reasonFor(error: Error): string {
  const reason = reasonOf(error)
  const { cause } = error
  const isQuoteEmpty = cause instanceof Error && cause.message === ''
  return isQuoteEmpty ? reason.replace('(caused by: )', `(caused by: ${reasonOf(cause)})`) : reason
}

/**
 * Watches for the flag END_STREAM, without which an answer is not complete (RFC 9113, 8.1).
 *
 * Node also ends a stream without an error when the stream is reset with NO_ERROR or CANCEL, when its session is destroyed,
 * and when the connection is closed. Only the order differs: after END_STREAM, Node pushes the end before it closes the stream.
 *
 * @returns A function that tells, after the stream has ended, whether the flag is missing. For a stream that was closed before
 * this call the flag cannot be seen: it counts as missing only after a reset with an error code.
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
