import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { request } from '../../src/demo/client.ts'
import { until } from './until.ts'

// What reads a stream is in the demonstration, which is shipped and cannot import from the tests.
export { readEvents, request } from '../../src/demo/client.ts'

/** What a client of its own connection has got so far. */
export interface Client extends Disposable {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** `'end'` after a whole response, `'broken'` after one that was cut off, or none at all. */
  readonly over: 'end' | 'broken' | undefined
  /** Whether it reads; it does at first. */
  reads(whether: boolean): void
}

/** Asks, and keeps what comes as text; disposing of it breaks the connection. */
export function ask(url: string, headers: OutgoingHttpHeaders = {}): Client {
  const leaving = new AbortController()
  let response: IncomingMessage | undefined
  let text = ''
  let failed = false
  request(url, { headers, signal: leaving.signal }).then(
    (answer) => {
      response = answer
      answer.on('error', () => {}).setEncoding('utf8')
      answer.on('data', (chunk: string) => {
        text += chunk
      })
    },
    () => {
      failed = true
    },
  )
  return {
    get status() {
      return response?.statusCode
    },
    get headers() {
      return response?.headers ?? {}
    },
    get text() {
      return text
    },
    get over() {
      if (response === undefined) return failed ? 'broken' : undefined
      if (!response.closed && !response.readableEnded) return undefined
      return response.complete ? 'end' : 'broken'
    },
    reads: (whether) => void (whether ? response?.resume() : response?.pause()),
    [Symbol.dispose]: () => leaving.abort(),
  }
}

/** A client's answer to its end, however that came. */
export async function answerOf(url: string, headers?: OutgoingHttpHeaders): Promise<Client> {
  using client = ask(url, headers)
  await until(
    () => client.over !== undefined,
    () => `the end of ${client.status} ${JSON.stringify(client.text.slice(-100))}`,
  )
  return client
}

export const has = (client: Client, part: string) =>
  until(
    () => client.text.includes(part),
    () => `${JSON.stringify(part)} in ${client.status} ${JSON.stringify(client.text.slice(-200))}`,
  )
