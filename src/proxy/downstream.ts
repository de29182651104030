import { EventEmitter } from 'node:events'
import { type IncomingMessage, ServerResponse, STATUS_CODES } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Writable } from 'node:stream'
import { tokensOf } from '../http/fields.ts'

/**
 * A client's request: of node:http or node:https, or of node:http2 through its compatibility API.
 *
 * @example
 * ```ts
 * import { createSseHub, createSseProxy, type ProxyRequest } from 'resilient-sse'
 *
 * const share = ({ url }: ProxyRequest) => (url === '/prices' ? 'prices' : undefined)
 * const listener = createSseProxy({ upstream: 'http://localhost:3000', hub: createSseHub(), share })
 * ```
 */
export type ProxyRequest = IncomingMessage | Http2ServerRequest

/**
 * The response to a {@link ProxyRequest}.
 *
 * @example
 * ```ts
 * import { createSseProxy, type ProxyRequest, type ProxyResponse } from 'resilient-sse'
 *
 * const proxy = createSseProxy({ upstream: 'http://localhost:3000' })
 * const listener = (req: ProxyRequest, res: ProxyResponse) => {
 *   res.setHeader('strict-transport-security', 'max-age=31536000')
 *   proxy(req, res)
 * }
 * ```
 */
export type ProxyResponse = ServerResponse | Http2ServerResponse

/** Sends the head of a response at once, because the body may come much later. */
export function flushHead(res: Writable & { flushHeaders?(): void }): void {
  res.flushHeaders?.()
}

/** Whether a closed response was sent completely. node:http2 reports `writableFinished` for every closed response. */
export function isSent(res: ProxyResponse): boolean {
  return res instanceof ServerResponse ? res.writableFinished : res.writableEnded
}

/**
 * Whether a client waits for a 100 before it sends its body (RFC 9110, 10.1.1). Node sends the 100 itself when the server has no
 * listener for `checkContinue`.
 */
export function awaitsContinue(req: ProxyRequest): boolean {
  const { expect } = req.headers
  // A server must ignore the expectation in HTTP/1.0.
  if (expect === undefined || !tokensOf([expect]).includes('100-continue') || req.httpVersion === '1.0')
    return false
  const server: unknown = Reflect.get(req.socket, 'server')
  return server instanceof EventEmitter && server.listenerCount('checkContinue') > 0
}

/** Answers with a status of the proxy's own. */
export function refuse(req: ProxyRequest, res: ProxyResponse, statusCode: number): void {
  if (res.destroyed) return
  const reason = STATUS_CODES[statusCode] ?? 'Error'
  if (res instanceof ServerResponse) {
    // The upstream's reason may have been set, and may be the value that could not be written.
    res.statusMessage = reason
    closeIfContinueAwaited(req, res)
  }
  res.statusCode = statusCode
  res.setHeader('content-type', 'text/plain; charset=utf-8')
  res.setHeader('cache-control', 'no-store')
  res.end(`${statusCode} ${reason}\n`)
}

/**
 * Closes the connection after a final answer to a client that waits for a 100. The client may now send its body or leave it out,
 * and the body could not be told from the next request (RFC 9110, 10.1.1).
 */
export function closeIfContinueAwaited(req: ProxyRequest, res: ProxyResponse): void {
  if (res instanceof ServerResponse && awaitsContinue(req)) res.shouldKeepAlive = false
}
