import type { IncomingMessage, ServerResponse } from 'node:http'

/** What a relay tells its upstream; the client's Last-Event-ID goes along. */
export function requestHeaders(req: IncomingMessage): Record<string, string> {
  const lastEventId = req.headers['last-event-id']
  return {
    accept: 'text/event-stream',
    'cache-control': 'no-cache',
    ...(typeof lastEventId === 'string' && { 'last-event-id': lastEventId }),
  }
}

/** The head of an event stream, sent at once. */
export function writeHead(res: ServerResponse, statusCode = 200): void {
  res.writeHead(statusCode, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  })
  res.flushHeaders()
}

/** Answers for an upstream that failed; when the head is out, the client sees the connection break. */
export function fail(res: ServerResponse): void {
  if (res.headersSent) res.destroy()
  else res.writeHead(502).end()
}
