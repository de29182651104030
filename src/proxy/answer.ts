import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { takesBorrowed, writeBorrowed } from '../http/borrowed-writer.ts'
import type { DirectBody } from '../http/direct-body.ts'
import { directBodyOf } from '../http/direct-socket.ts'
import { endToEndFields, type FieldLines, fieldValueOf, rawHeadersOf } from '../http/fields.ts'
import type { ShortAnswer } from '../http/short-answer.ts'
import { flushHead, type ProxyResponse } from './downstream.ts'

function ignore(): void {}

/**
 * Passes an answer of the upstream on unchanged: status, reason, end-to-end fields and body.
 *
 * The head goes out with the bytes of the body that have arrived with it, and does not wait for others: a write of its own is a
 * tenth of the cost of a short answer.
 *
 * @param onCut - Called when the upstream has broken off the body, with the reason. The head is out by then.
 * @throws For a head that a lenient parser accepts and that cannot be written.
 */
export function passAnswer(
  response: IncomingMessage,
  res: ProxyResponse,
  onCut: (cause: Error) => void,
): void {
  const { statusCode = 502, statusMessage = '', rawHeaders, complete } = response
  setHead({ statusCode, statusMessage, rawHeaders }, complete, res)
  if (response.complete) passWhole(response, res)
  else passParts(response, res, onCut)
}

/** Passes on an answer that has arrived as a whole, unchanged, in one write. */
export function passShortAnswer(answer: ShortAnswer, res: ProxyResponse): void {
  setHead(answer, true, res)
  if (answer.text === '') res.end()
  else res.end(answer.text, 'latin1')
}

/** @param isComplete - Whether the body has arrived as a whole. */
function setHead(
  { statusCode, statusMessage, rawHeaders }: Omit<ShortAnswer, 'text'>,
  isComplete: boolean,
  res: ProxyResponse,
): void {
  const fields = endToEndFields(rawHeaders)
  // RFC 9110, 8.6.
  if (statusCode === 204) fields.delete('content-length')
  // Without a length node:http adds the length of a body that is there. An answer that may be cut must have its list.
  const isWhole = isComplete && fields.has('content-length')
  if (isWhole && res instanceof ServerResponse && isUnobserved(res)) {
    res.writeHead(statusCode, statusMessage, rawHeadersOf(fields))
    return
  }
  res.statusCode = statusCode
  if (res instanceof ServerResponse) res.statusMessage = statusMessage
  for (const [name, lines] of fields) res.setHeader(name, fieldValueOf(lines))
}

/**
 * Whether nothing but this proxy looks at the fields of a response, so that node:http needs no list of them: the list is a tenth of the
 * cost of a short answer. Access logs such as morgan read the fields when the response has emitted `finish`, to which node:http listens
 * once itself.
 */
function isUnobserved(res: ServerResponse): boolean {
  const { writeHead } = ServerResponse.prototype
  return res.listenerCount('finish') <= 1 && res.writeHead === writeHead && res.getHeaderNames().length === 0
}

/** The longest body that becomes text: node:http joins text to the head, and writes both without a list of buffers. */
const longestText = 8192

/** Passes on an answer that has arrived as a whole, in one write. */
function passWhole(response: IncomingMessage, res: ProxyResponse): void {
  const body: Buffer | null = response.on('error', ignore).read()
  if (body === null) res.end()
  else if (body.length > longestText) res.end(body)
  else res.end(body.toString('latin1'), 'latin1')
}

/** Not by `pipeline`: after a drop it would end the response of an HTTP/1.0 client as if it were complete. */
function passParts(response: IncomingMessage, res: Writable, onCut: (cause: Error) => void): void {
  let isOver = false
  const onEnd = () => {
    isOver = true
    res.end()
  }
  const onLost = (cause: unknown = response.errored) => {
    if (isOver) return
    isOver = true
    flushHead(res)
    onCut(cause instanceof Error ? cause : new Error('the connection closed'))
  }
  // A malformed body that came with the head has destroyed the response before a listener could be added.
  if (response.destroyed) {
    onLost()
    return
  }
  const direct = directBodyOf(response)
  if (response.readableLength === 0 && !direct?.hasPending) flushHead(res)
  res.on('drain', () => {
    response.resume()
    direct?.resume()
  })
  if (direct) passDirectly(response, direct, res)
  else {
    response.on('data', (chunk: Buffer) => {
      if (!res.write(chunk)) response.pause()
    })
  }
  response.on('end', onEnd).on('error', onLost).on('close', onLost)
}

function passDirectly(response: IncomingMessage, direct: DirectBody, res: Writable): void {
  direct.read({
    onBytes(bytes) {
      if (takesBorrowed(res) ? writeBorrowed(res, bytes) : res.write(Buffer.from(bytes))) return
      response.pause()
      direct.pause()
    },
  })
  response.resume()
}

/** Removes the fields of a head that could not be written. */
export function removeFields(res: ProxyResponse, fields: FieldLines): void {
  if (!res.headersSent) for (const name of fields.keys()) res.removeHeader(name)
}
