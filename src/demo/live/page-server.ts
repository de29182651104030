import http, { type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http'
import { pageFiles } from '../page-files.ts'
import type { Guard } from './guard.ts'
import type { Action, Show } from './show.ts'

const always: OutgoingHttpHeaders = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** Answers the requests of the page: its parts, what happens, and what its buttons ask for. */
export function pageListener(guard: Guard, show: Show): http.RequestListener {
  return (request, response) => {
    request.resume()
    if (!guard.admits(request, response)) return
    for (const [name, value] of Object.entries(always)) response.setHeader(name, String(value))
    const [path = '/'] = (request.url ?? '/').split('?')
    const action = show.actions.get(path)
    if (action) void act(request, response, guard, action)
    else if (request.method !== 'GET' && request.method !== 'HEAD') {
      refuse(response, 405, { allow: 'GET, HEAD' })
    } else if (path === '/status' && request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      show.audience.add(response)
    } else sendFile(response, path, show.origins)
  }
}

function sendFile(response: ServerResponse, path: string, origins: readonly string[]): void {
  const file = pageFiles.get(path)
  if (file === undefined) {
    refuse(response, 404)
    return
  }
  response.writeHead(200, {
    'content-type': file.type,
    'content-length': Buffer.byteLength(file.text),
    'content-security-policy': policy(origins),
  })
  response.end(file.text)
}

async function act(
  request: IncomingMessage,
  response: ServerResponse,
  guard: Guard,
  action: Action,
): Promise<void> {
  const refusal = request.method !== 'POST' ? 405 : guard.isFromPage(request) ? undefined : 403
  if (refusal !== undefined) {
    refuse(response, refusal, refusal === 405 ? { allow: 'POST' } : {})
    return
  }
  try {
    const made = await action()
    if (made === undefined) refuse(response, 409)
    else response.writeHead(200, { 'content-type': 'text/plain' }).end(made)
  } catch {
    // No gateway process runs that could do it.
    refuse(response, 503)
  }
}

function refuse(response: ServerResponse, status: number, headers: OutgoingHttpHeaders = {}): void {
  response.writeHead(status, { 'content-type': 'text/plain', ...headers })
  response.end(`${http.STATUS_CODES[status]}\n`)
}

/** Scripts and styles of this server alone, and none that stands in the page itself. */
function policy(origins: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src ${["'self'", ...origins].join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}
