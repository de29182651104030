import { EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'

/**
 * Destroys a response of node:http with the error that its request emits after the head.
 *
 * The end of the connection ends a body without length and chunking. When the connection is reset, Node emits the error
 * (ECONNRESET) on the request only and then ends the response, which would look complete.
 */
export function breakWithRequest(response: Readable): void {
  if (!('req' in response) || !(response.req instanceof EventEmitter)) return
  response.req.on('error', (error: Error) => {
    if (!('complete' in response) || response.complete !== true) response.destroy(error)
  })
}
