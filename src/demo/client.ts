import http, { type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { createParser } from 'eventsource-parser'
import type { Arrival } from './ledger.ts'

export interface RequestOptions {
  readonly headers?: OutgoingHttpHeaders
  /** Where to resume; sent as a browser does, as the bytes of UTF-8, and left out where a header cannot hold it. */
  readonly lastEventId?: string | undefined
  /** Breaks the connection when aborted. */
  readonly signal?: AbortSignal
  /** How many milliseconds without a single byte it puts up with. Default: any number. */
  readonly patience?: number
}

const isSendable = (id: string) => id !== '' && [...id].every((unit) => unit >= ' ' && unit !== '\x7f')

/**
 * Sends a GET over a connection of its own. It knows nothing of what is behind the server that it talks to.
 *
 * @throws When there is no answer. What breaks the response later is the response's error.
 */
export function request(url: string, options: RequestOptions = {}): Promise<IncomingMessage> {
  const { lastEventId = '', signal, patience } = options
  const headers = {
    ...(isSendable(lastEventId) && { 'last-event-id': Buffer.from(lastEventId).toString('latin1') }),
    ...options.headers,
  }
  return new Promise((resolve, reject) => {
    const sent = http.get(url, { agent: false, headers, ...(signal && { signal }) })
    let response: IncomingMessage | undefined
    sent.on('error', reject)
    sent.on('response', (answer) => {
      response = answer
      resolve(answer)
    })
    if (patience === undefined) return
    sent.setTimeout(patience, () => {
      // A response whose request is destroyed knows only that it was cut off.
      const impatience = new Error(`nothing arrived for ${patience / 1000} s`)
      if (response) response.destroy(impatience)
      else sent.destroy(impatience)
    })
  })
}

/**
 * Reads a body of bytes, or a stream of events, until it is over or destroyed; what shares a chunk with the event at which
 * its reader destroys it is not noted any more. An id is noted in front of its event.
 *
 * @returns What broke the body, or undefined when it ended as if it were whole.
 */
export function readEvents(body: Readable, note: (arrival: Arrival) => void): Promise<Error | undefined> {
  const noteWhileOpen = (arrival: Arrival) => {
    if (!body.destroyed) note(arrival)
  }
  const decoder = new TextDecoder()
  const parser = createParser({ onId: (id) => noteWhileOpen({ id }), onEvent: noteWhileOpen })
  body.on('data', (chunk: unknown) => {
    if (chunk instanceof Uint8Array) parser.feed(decoder.decode(chunk, { stream: true }))
    else noteWhileOpen(Object(chunk))
  })
  return new Promise((resolve) => {
    body.on('end', () => resolve(undefined))
    body.on('error', resolve)
    body.on('close', () => resolve(new Error('the connection was closed')))
  })
}
