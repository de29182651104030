import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { tokensOf } from '../http/fields.ts'
import { type ProxyRequest, type ProxyResponse, refuse } from './downstream.ts'
import { Exchange } from './exchange.ts'
import { isCodedRequest } from './forwarding.ts'
import { type CheckedProxyOptions, checkProxyOptions, type ProxyOptions } from './options.ts'
import { failShared, relayShared } from './shared-exchange.ts'
import { streamName } from './stream-name.ts'
import { hostOf, isListedHost, targetOf } from './target.ts'

export type { ProxyRequest, ProxyResponse } from './downstream.ts'
export type { ProxyOptions, ProxyRelayOptions, ProxySharedOptions } from './options.ts'

/**
 * Makes a request listener that passes every request on to one upstream.
 *
 * The event stream that answers a GET without a body is reopened after a drop, as with {@link relaySse}. When the GET's `Accept`
 * names `text/event-stream`, a first attempt that fails for a transient reason is retried too. An event stream that answers
 * any other request is relayed once. Every other answer is passed on unchanged, redirects and early hints included. With the
 * option `hub`, clients share event streams.
 *
 * An idempotent request without a body is sent a second time when a kept-alive connection turns out to be closed; no other
 * request is sent twice (RFC 9110, 9.2.2). Hop-by-hop fields (RFC 9110, 7.6.1) and trailers are removed in both directions. A
 * request gets `via`, and the fields that the option `forwarded` selects.
 *
 * The proxy itself answers with 400 for a request target with `..`, white space or a fragment, or without a path; 421 for a host
 * that is not in `hosts`; 501 for CONNECT, TRACE, upgrades (one to h2c is ignored) and unknown transfer codings; 502 when the
 * upstream cannot be reached; 504 when the upstream does not answer within `responseTimeout` or, for a client that accepts an
 * event stream, `connectTimeout`. When the upstream fails later, the client's connection is broken.
 *
 * @returns A listener for `request` events of servers of node:http, node:https and, through its compatibility API,
 * node:http2. The request's body must not have been read. Use it for `checkContinue` events too, and a client that waits for a
 * 100 gets the upstream's 100; without such a listener Node sends a 100 itself (RFC 9110, 10.1.1). Set the server's
 * `requestTimeout` to 0, or Node aborts uploads that take longer than 300 s.
 * @throws `TypeError` or `RangeError` that names a wrong option.
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { createSseProxy, refuseUpgrade } from 'resilient-sse'
 *
 * const server = http.createServer(createSseProxy({ upstream: 'http://localhost:3000' }))
 * server.on('upgrade', refuseUpgrade).on('connect', refuseUpgrade).listen(8080)
 * ```
 */
export function createSseProxy(options: ProxyOptions): (req: ProxyRequest, res: ProxyResponse) => void {
  const checked = checkProxyOptions(options)
  return (req, res) => {
    // Every error of a client is followed by `close`, which is handled.
    req.on('error', ignore)
    res.on('error', ignore)
    if (res.destroyed) return
    const path = targetOf(req.url ?? '', checked.upstream)
    if (checked.hosts && !isListedHost(hostOf(req), checked.hosts)) refuse(req, res, 421)
    else if (!isSupported(req)) refuse(req, res, 501)
    else if (path === undefined) refuse(req, res, 400)
    else answer(checked, req, res, path)
  }
}

function ignore(): void {}

function answer(options: CheckedProxyOptions, req: ProxyRequest, res: ProxyResponse, path: string): void {
  let name: string | undefined
  try {
    name = streamName(options, req, path)
  } catch (fault) {
    failShared(options, fault, req, res)
    return
  }
  if (options.hub && name !== undefined) relayShared(options, options.hub, name, req, res, path)
  else new Exchange(options, req, res, path).start()
}

/**
 * A listener for a server's `upgrade` and `connect` events: answers with 501 and closes the connection. Without such listeners
 * node:http gives upgrades to the request listener, and closes the connection at a CONNECT.
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { createSseProxy, refuseUpgrade } from 'resilient-sse'
 *
 * const server = http.createServer(createSseProxy({ upstream: 'http://localhost:3000' }))
 * server.on('upgrade', refuseUpgrade).on('connect', refuseUpgrade)
 * ```
 */
export function refuseUpgrade(_: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => {})
  socket.end('HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
}

function isSupported(req: ProxyRequest): boolean {
  const { upgrade, connection = '' } = req.headers
  // A client that offers h2c goes on without it when it is ignored (RFC 9113, 3.1).
  const upgrades =
    /upgrade/i.test(connection) &&
    tokensOf([connection]).includes('upgrade') &&
    tokensOf([upgrade ?? 'h2c']).join() !== 'h2c'
  return !upgrades && req.method !== 'CONNECT' && req.method !== 'TRACE' && !isCodedRequest(req)
}
