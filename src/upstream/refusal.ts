import { finished } from 'node:stream'
import { SseError } from '../errors.ts'
import type { CancelSignal } from '../http/cancellation.ts'
import { Deadline } from '../http/deadline.ts'
import { retryAfterOf } from '../http/fields.ts'
import { isEventStream } from '../http/media-type.ts'
import { decodeBody, isDecodable } from './decode.ts'
import { bytesOf, discardBody, type OpenedUpstream } from './shapes.ts'

/** The most bytes of the body that the error of a refusal keeps. */
const mostBytes = 65_536
/** The longest wait for this body, in milliseconds. The body usually arrives with the head, and must not delay a retry. */
const mostTime = 500

/** Whether the answer is an event stream that can be read. */
export function isOpen({ statusCode, headers, encodings }: OpenedUpstream): boolean {
  if (statusCode === undefined) return true
  return statusCode === 200 && isEventStream(headers['content-type']) && isDecodable(encodings)
}

/**
 * The error of an attempt whose answer is not such an event stream. Closes the body.
 *
 * @param signal - Ends the wait for the body.
 * @returns `ERR_SSE_STATUS` with the part of the body that arrived within half a second; for a 200 `ERR_SSE_CONTENT_TYPE`.
 */
export async function refusalOf(upstream: OpenedUpstream, signal: CancelSignal): Promise<SseError> {
  const { statusCode = 0, headers, encodings } = upstream
  if (statusCode !== 200) {
    const retryAfter = retryAfterOf(headers, Date.now())
    const body = await startOf(upstream, signal)
    if (signal.aborted) throw signal.reason
    return new SseError('ERR_SSE_STATUS', `the upstream answered ${statusCode}`, {
      statusCode,
      headers,
      body,
      ...(retryAfter !== undefined && { retryAfter }),
    })
  }
  discardBody(upstream.body)
  const contentType = headers['content-type']
  const got = isEventStream(contentType)
    ? `content-encoding ${encodings.join(', ')}`
    : `content-type ${contentType?.toString() || '(none)'}`
  const message = `the upstream answered with ${got}, not with a readable text/event-stream`
  return new SseError('ERR_SSE_CONTENT_TYPE', message, { statusCode, headers })
}

/** The first bytes of a body, decoded; empty for a body that cannot be decoded. Never rejects. */
function startOf({ body: source, encodings }: OpenedUpstream, signal: CancelSignal): Promise<Buffer> {
  const body = decodeBody(source, isDecodable(encodings) ? encodings : [])
  const chunks: Buffer[] = []
  let size = 0
  return new Promise((resolve) => {
    const finish = () => {
      deadline.clear()
      signal.removeEventListener('abort', finish)
      discardBody(body)
      discardBody(source)
      resolve(Buffer.concat(chunks, Math.min(size, mostBytes)))
    }
    const deadline = new Deadline(mostTime, (finish) => finish(), finish)
    signal.addEventListener('abort', finish)
    finished(body, { writable: false }, finish)
    if (signal.aborted || !isDecodable(encodings)) finish()
    body.on('data', (chunk) => {
      try {
        size += chunks[chunks.push(bytesOf(chunk)) - 1]?.length ?? 0
      } catch {
        // The status is reported, not the wrong type of the chunk.
        finish()
      }
      if (size >= mostBytes) finish()
    })
    body.resume()
  })
}
