import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { tokensOf } from '../http/fields.ts'
import { Exchange, refuse } from './exchange.ts'
import { hasUnknownCoding } from './forwarding.ts'
import { checkProxyOptions, type ProxyOptions } from './options.ts'
import { targetOf } from './target.ts'

export type { ProxyOptions, ProxyRelayOptions } from './options.ts'

/**
 * Makes a request listener that passes every request on to one upstream.
 *
 * A GET without a body that is answered with an event stream outlives its upstream's connections, as with
 * {@link relaySse}. The stream that answers any other method is relayed once. Everything else goes through as it is,
 * redirects and early hints too. An idempotent request without a body is sent again when a kept-alive connection had
 * been closed, any other request never (RFC 9110, 9.2.2). Hop-by-hop fields are left out in both directions (RFC 9110, 7.6.1), and
 * trailers; `x-forwarded-for`, `-proto`, `-host` and `via` are added.
 *
 * No answer but the upstream's: 400 for a request target with `..`, a backslash, a fragment, or without a path; 501 for
 * CONNECT, TRACE, upgrades (one to h2c is ignored) and unknown transfer codings; 502 when the upstream cannot be
 * reached; 504 when it does not answer within `connectTimeout`. When it fails later, the client's connection breaks.
 *
 * @returns A listener for `request` events of node:http and node:https servers. The body must not have been read.
 * @throws `TypeError` or `RangeError` that names a wrong option.
 */
export function createSseProxy(options: ProxyOptions): (req: IncomingMessage, res: ServerResponse) => void {
  const rules = checkProxyOptions(options)
  return (req, res) => {
    // What a client does wrong is followed by a close, which is what counts.
    req.on('error', () => {})
    res.on('error', () => {})
    if (res.destroyed) return
    const path = targetOf(req.url ?? '', rules.upstream)
    if (!isSupported(req)) refuse(req, res, 501)
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

function isSupported(req: IncomingMessage): boolean {
  const { upgrade, connection = '' } = req.headers
  // Clients offer h2c on every first request and do without it (RFC 9113, 3.1).
  const upgrades = tokensOf([connection]).includes('upgrade') && tokensOf([upgrade ?? 'h2c']).join() !== 'h2c'
  return !upgrades && req.method !== 'CONNECT' && req.method !== 'TRACE' && !hasUnknownCoding(req)
}
