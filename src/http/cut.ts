import { EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'

/**
 * Destroys a response of node:http with the error that its request meets behind the head.
 *
 * A body without length and chunking is closed by its connection, and Node ends it when that is reset as well: the
 * request alone is told of the error (ECONNRESET), before the response ends.
 */
export function breakWithRequest(response: Readable): void {
  if (!('req' in response) || !(response.req instanceof EventEmitter)) return
  response.req.on('error', (error: Error) => {
    if (!('complete' in response) || response.complete !== true) response.destroy(error)
  })
}
