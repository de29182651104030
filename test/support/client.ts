import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import zlib from 'node:zlib'
import { request } from '../../src/demo/client.ts'
import { until } from './until.ts'

// The code is in the demonstration, which is published and cannot import from the tests.
export { readEvents, request } from '../../src/demo/client.ts'

/** How an answer ended. `'broken'`: the body was cut off, or no head arrived. */
type Over = 'end' | 'broken'

/** A client with a connection of its own, and the answer that it has received so far. */
export interface Client extends Disposable {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  /** The body so far; a gzip body is decoded. */
  readonly text: string
  /** Undefined until the answer has ended. */
  readonly over: Over | undefined
  /** Resolves when the answer has ended. */
  readonly ended: Promise<Over>
  /** Resumes or pauses reading. The client reads at first. */
  reads(whether: boolean): void
  /** Breaks the connection, as disposing does. */
  leave(): void
}

/** Sends a GET, and collects the body as text. */
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

/** Sends a GET, and waits for the head of the answer. */
export async function get(url: string, headers?: OutgoingHttpHeaders): Promise<Client> {
  const client = ask(url, headers)
  await until(
    () => client.status !== undefined || client.over !== undefined,
    () => `the head of an answer from ${url}`,
  )
  if (client.status === undefined) throw new Error(`no answer from ${url}`)
  return client
}

/** Sends a GET, and waits for the end of the answer, clean or broken. */
export async function answerOf(url: string, headers?: OutgoingHttpHeaders): Promise<Client> {
  using client = ask(url, headers)
  await until(
    () => client.over !== undefined,
    () => `the end of ${client.status} ${JSON.stringify(client.text.slice(-100))}`,
  )
  return client
}

/** Waits until the body contains a text. */
export const has = (client: Client, part: string) =>
  until(
    () => client.text.includes(part),
    () =>
      `${JSON.stringify(part)} in ${client.status} ${JSON.stringify(client.text.slice(-200))} (${client.over ?? 'open'})`,
  )
