import http, { type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { createParser } from 'eventsource-parser'
import type { Arrival } from './ledger.ts'

export interface RequestOptions {
  readonly headers?: OutgoingHttpHeaders
  /** The last event ID, sent as UTF-8 bytes as a browser does. Not sent when a header field cannot carry the id. */
  readonly lastEventId?: string | undefined
  /** Aborting this signal breaks the connection. */
  readonly signal?: AbortSignal
  /** Milliseconds without a byte after which the request fails. Default: no limit. */
  readonly patience?: number
}

const isSendable = (id: string) => id !== '' && [...id].every((unit) => unit >= ' ' && unit !== '\x7f')

/**
 * Sends a GET over a connection of its own. The client shares no code with the library that it checks.
 *
 * @returns Rejects without a response. Later failures are emitted as the response's `error`.
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
      // Destroying the request instead would make the response fail with a generic "aborted".
      const impatience = new Error(`nothing arrived for ${patience / 1000} s`)
      if (response) response.destroy(impatience)
      else sent.destroy(impatience)
    })
  })
}

/**
 * Reads a body of bytes, or a stream of events, until the body has ended, failed or was destroyed. After `note` destroys the
 * body, the rest of the chunk is ignored. An id is noted before its event.
 *
 * @returns The error that broke the body, or undefined after a clean end.
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
