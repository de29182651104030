import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { urlToHttpOptions } from 'node:url'
import type { UpstreamContext, UpstreamFactory } from './shapes.ts'

/** Options of {@link httpUpstream}: those of node:http and node:https requests, and a body. */
export interface HttpUpstreamOptions extends Omit<https.RequestOptions, 'signal' | 'headers'> {
  /** Header fields. They go before ours, except for a `last-event-id`, which holds only until an id is known. */
  readonly headers?: http.OutgoingHttpHeaders
  /** The request's body, sent with each attempt. */
  readonly body?: string | Uint8Array
}

type Dialled = Pick<UpstreamContext, 'headers' | 'signal'>

/**
 * A factory over node:http or node:https, which unlike fetch never end a body for being quiet. Connections are kept
 * alive and reused, by an agent that all attempts share.
 *
 * @param url - An http: or https: URL.
 * @throws `TypeError` for any other URL.
 */
export function httpUpstream(url: string | URL, options: HttpUpstreamOptions = {}): UpstreamFactory {
  // The platform's error would hold the URL, and a password in it.
  if (!URL.canParse(String(url))) throw new TypeError('Invalid URL: url must be an http: or https: URL')
  const target = new URL(url)
  const { href, protocol } = target
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new TypeError(`url must be an http: or https: URL, got ${protocol}`)
  }
  const { body, headers: given = {}, ...requestOptions } = options
  const client = protocol === 'https:' ? https : http
  const agent = options.agent ?? new client.Agent({ keepAlive: true })
  const own = Object.fromEntries(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value]))
  const where = urlToHttpOptions(target)
  const dial = ({ headers, signal }: Dialled, again: boolean): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const { 'last-event-id': lastEventId, ...defaults } = headers
      let answered = false
      const request = client.request(
        {
          ...where,
          ...requestOptions,
          agent,
          headers: {
            ...defaults,
            ...own,
            ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
          },
          // Not one of the caller's either: an attempt has its own, heard below at a fraction of the cost.
          signal: undefined,
        },
        (response) => {
          answered = true
          resolve(response)
        },
      )
      const onAbort = () => request.destroy(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      request.on('error', (error) => {
        // A connection that was kept alive may have been closed meanwhile: that says nothing of the upstream. One that
        // is reset behind the response's head is lost, and nobody waits here any more; nor where the attempt was aborted,
        // with whatever reason.
        if (
          !signal.aborted &&
          !answered &&
          request.reusedSocket &&
          'code' in error &&
          error.code === 'ECONNRESET' &&
          body === undefined &&
          !again
        ) {
          resolve(dial({ headers, signal }, true))
        } else reject(error)
      })
      // An answer that is none, such as 101, leaves nothing but this.
      request.on('close', () => {
        signal.removeEventListener('abort', onAbort)
        if (!answered) reject(new Error('the connection closed without a response'))
      })
      request.end(body)
    })
  // No more of the context: the request's listeners would keep its last error, which keeps the request before, and so on.
  const factory: UpstreamFactory = ({ headers, signal }) => dial({ headers, signal }, false)
  return Object.assign(factory, { url: href, method: requestOptions.method ?? 'GET' })
}
