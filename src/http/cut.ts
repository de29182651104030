import { EventEmitter } from 'node:events'
import type { Readable } from 'node:stream'

function breakResponse(this: Readable, error: Error): void {
  if (!('complete' in this && this.complete === true)) this.destroy(error)
}

/** Marks a response that already breaks with its request. */
const isPrepared = Symbol('isPrepared')

interface Response extends Readable {
  [isPrepared]?: true
}

/**
 * Destroys a response of node:http with the error that its request emits after the head.
 *
 * The end of the connection ends a body without length and chunking. When the connection is reset, Node emits the error
 * (ECONNRESET) on the request only and then ends the response, which would look complete. Further calls have no effect.
 */
export function breakWithRequest(response: Response): void {
  if (response[isPrepared] || !('req' in response) || !(response.req instanceof EventEmitter)) return
  // Not a WeakSet of responses: its entries survive until all of the heap is collected, which took a tenth of the time of a short
  // answer.
  response[isPrepared] = true
  // Bound, which takes less memory than a closure: it is held as long as the response.
  response.req.on('error', breakResponse.bind(response))
}
