import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import zlib from 'node:zlib'
import { request } from '../../src/demo/client.ts'
import { until } from './until.ts'

// What sends a request and reads a stream is in the demonstration, which is shipped and cannot import from the tests.
export { readEvents, request } from '../../src/demo/client.ts'

/** How an answer is over: `'broken'` is one that was cut off, or never came. */
type Over = 'end' | 'broken'

/** What a client of its own connection has got so far. */
export interface Client extends Disposable {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  /** The body, decoded where it is gzip. */
  readonly text: string
  readonly over: Over | undefined
  /** Resolves when it is over. */
  readonly ended: Promise<Over>
  /** Whether it reads; it does at first. */
  reads(whether: boolean): void
  /** Breaks its connection, as disposing of it does. */
  leave(): void
}

/** Asks, and keeps what comes as text. */
export function ask(url: string, headers: OutgoingHttpHeaders = {}): Client {
  const leaving = new AbortController()
  let response: IncomingMessage | undefined
  let text = ''
  let over: Over | undefined
  const take = (answer: IncomingMessage): Promise<Over> => {
    response = answer
    answer.on('error', () => {})
    const isGzip = answer.headers['content-encoding'] === 'gzip'
    const body = isGzip ? answer.pipe(zlib.createGunzip()) : answer
    body.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    return new Promise((resolve) => {
      body.on('end', () => resolve('end'))
      answer.on('close', () => {
        if (!answer.complete) resolve('broken')
        if (!answer.complete && body !== answer) body.destroy()
      })
    })
  }
  const ended = request(url, { headers, signal: leaving.signal })
    .then(take, (): Over => 'broken')
    .then((how) => {
      over = how
      return how
    })
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
      return over
    },
    ended,
    reads: (whether) => void (whether ? response?.resume() : response?.pause()),
    leave: () => leaving.abort(),
    [Symbol.dispose]: () => leaving.abort(),
  }
}

/** A client that has got the head of its answer. */
export async function get(url: string, headers?: OutgoingHttpHeaders): Promise<Client> {
  const client = ask(url, headers)
  await until(
    () => client.status !== undefined || client.over !== undefined,
    () => `the head of an answer from ${url}`,
  )
  if (client.status === undefined) throw new Error(`no answer from ${url}`)
  return client
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
