import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { tokensOf } from '../http/fields.ts'
import { type ProxyRequest, type ProxyResponse, refuse } from './downstream.ts'
import { Exchange } from './exchange.ts'
import { isCodedRequest } from './forwarding.ts'
import { checkProxyOptions, type ProxyOptions } from './options.ts'
import { hostOf, isListedHost, targetOf } from './target.ts'

export type { ProxyRequest, ProxyResponse } from './downstream.ts'
export type { ProxyOptions, ProxyRelayOptions } from './options.ts'

/**
 * Makes a request listener that passes every request on to one upstream.
 *
 * A GET without a body that is answered with an event stream outlives its upstream's connections, as with
 * {@link relaySse}; one whose `Accept` names `text/event-stream` also outlives an upstream that is away when it comes. The
 * stream that answers any other method is relayed once. Everything else goes through as it is, redirects and early hints
 * too. An idempotent request without a body is sent again when a kept-alive connection had been closed, any other request
 * never (RFC 9110, 9.2.2). Hop-by-hop fields are left out in both directions (RFC 9110, 7.6.1), and trailers; `via` is
 * added, and what the option `forwarded` says.
 *
 * No answer but the upstream's: 400 for a request target with `..`, white space or a fragment, or without a path; 421 for
 * a host that is not among `hosts`; 501 for CONNECT, TRACE, upgrades (one to h2c is ignored) and unknown transfer codings;
 * 502 when the upstream cannot be reached; 504 when it does not answer within `responseTimeout` or, where the client
 * accepts an event stream, `connectTimeout`. When it fails later, the client's connection breaks.
 *
 * @returns A listener for `request` events of servers of node:http, node:https and, through its compatibility API,
 * node:http2. The body must not have been read. For `checkContinue` events too: then a client that waits for a 100 gets
 * the upstream's, and without such a listener node answers by itself (RFC 9110, 10.1.1). Set the server's
 * `requestTimeout` to 0, or node cuts uploads of more than 300 s.
 * @throws `TypeError` or `RangeError` that names a wrong option.
 */
export function createSseProxy(options: ProxyOptions): (req: ProxyRequest, res: ProxyResponse) => void {
  const rules = checkProxyOptions(options)
  return (req, res) => {
    // What a client does wrong is followed by a close, which is what counts.
    req.on('error', () => {})
    res.on('error', () => {})
    if (res.destroyed) return
    const path = targetOf(req.url ?? '', rules.upstream)
    if (rules.hosts && !isListedHost(hostOf(req), rules.hosts)) refuse(req, res, 421)
    else if (!isSupported(req)) refuse(req, res, 501)
    else if (path === undefined) refuse(req, res, 400)
    else new Exchange(rules, req, res, path).start()
  }
}

/**
 * Answers with 501 and closes; for a server's `upgrade` and `connect` events. Without a listener node:http hands
 * upgrades to the request listener, and closes on CONNECT.
 */
export function refuseUpgrade(_: IncomingMessage, socket: Duplex): void {
  socket.on('error', () => {})
  socket.end('HTTP/1.1 501 Not Implemented\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
}

function isSupported(req: ProxyRequest): boolean {
  const { upgrade, connection = '' } = req.headers
  // Clients offer h2c on every first request and do without it (RFC 9113, 3.1).
  const upgrades = tokensOf([connection]).includes('upgrade') && tokensOf([upgrade ?? 'h2c']).join() !== 'h2c'
  return !upgrades && req.method !== 'CONNECT' && req.method !== 'TRACE' && !isCodedRequest(req)
}
