import type { ServerResponse } from 'node:http'
import { serve, stream, type TestServer } from './server.ts'

/** A server of chat completions, whose words the test sends. Each request gets all words, from the first one on. */
export interface Completion extends AsyncDisposable {
  readonly url: string
  readonly server: TestServer
  /** The number of requests since the start, or the latest reset. */
  readonly requests: number
  /** Sends words, each in an event without an id. */
  say(...words: readonly string[]): void
  /** Sends the last event. */
  finish(): void
  /** Resets the connections. */
  cut(): void
  /** Forgets words and requests, and closes the connections. */
  reset(): void
}

const eventOf = (content: string) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`

export async function serveCompletion(): Promise<Completion> {
  const responses = new Set<ServerResponse>()
  let said = ''
  let earlier = 0
  const send = (text: string) => {
    said += text
    for (const response of responses) response.write(text)
  }
  const server = await serve((request, response) => {
    // A GET that asks for an answer is a fault.
    if (request.method !== 'POST') return void response.writeHead(405).end()
    request.resume()
    responses.add(stream(response, said))
    response.on('close', () => responses.delete(response))
  })
  return {
    url: server.url,
    server,
    get requests() {
      return server.requests.length - earlier
    },
    say: (...words) => send(words.map(eventOf).join('')),
    finish: () => send('data: [DONE]\n\n'),
    cut() {
      for (const { socket } of responses) socket?.resetAndDestroy()
    },
    reset() {
      said = ''
      earlier = server.requests.length
      server.server.closeAllConnections()
    },
    [Symbol.asyncDispose]: server.close,
  }
}

/** Words with numbers, such as `word1 `. */
export const words = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, n) => `word${from + n} `)

/** The words that a client has received. */
export function wordsIn(text: string): string {
  return Array.from(text.matchAll(/"content":"([^"]*)"/g), ([, word]) => word).join('')
}
