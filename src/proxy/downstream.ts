import { EventEmitter } from 'node:events'
import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Writable } from 'node:stream'
import { tokensOf } from '../http/fields.ts'

/** A client's request: of node:http or node:https, or of node:http2 through its compatibility API. */
export type ProxyRequest = IncomingMessage | Http2ServerRequest

/** The response to a {@link ProxyRequest}. */
export type ProxyResponse = ServerResponse | Http2ServerResponse

/** Sends the head of a response; its body may be long in coming. */
export function flushHead(res: Writable & { flushHeaders?(): void }): void {
  res.flushHeaders?.()
}

/** Whether a response that is closed was sent to its end. node:http2 says of every one that is closed that it has finished. */
export function isSent(res: ProxyResponse): boolean {
  return res instanceof ServerResponse ? res.writableFinished : res.writableEnded
}

/**
 * Whether a client waits for a 100 before it sends its body (RFC 9110, 10.1.1), and has not got one: node answers by
 * itself where its server has no listener for `checkContinue`.
 */
export function awaitsContinue(req: ProxyRequest): boolean {
  // A server must ignore the expectation in HTTP/1.0.
  if (!tokensOf([req.headers.expect ?? '']).includes('100-continue') || req.httpVersion === '1.0')
    return false
  const server: unknown = Reflect.get(req.socket, 'server')
  return server instanceof EventEmitter && server.listenerCount('checkContinue') > 0
}

/** Answers without the upstream. */
export function refuse(req: ProxyRequest, res: ProxyResponse, statusCode: number): void {
  // A client that is still sending reads the answer only if nobody closes on it.
  req.resume()
  if (res.destroyed) return
  const reason = STATUS_CODES[statusCode] ?? 'Error'
  if (res instanceof ServerResponse) {
    // The upstream's may have been set, and may be what could not be written.
    res.statusMessage = reason
    endAfterwards(req, res)
  }
  res.statusCode = statusCode
  res.setHeader('content-type', 'text/plain; charset=utf-8')
  res.setHeader('cache-control', 'no-store')
  res.end(`${statusCode} ${reason}\n`)
}

/**
 * Closes the connection after a final answer to a client that waits for a 100: it may send its body now, or leave it out,
 * and nobody could tell the body from the next request (RFC 9110, 10.1.1).
 */
export function endAfterwards(req: ProxyRequest, res: ProxyResponse): void {
  if (res instanceof ServerResponse && awaitsContinue(req)) res.shouldKeepAlive = false
}
