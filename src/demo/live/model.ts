import http from 'node:http'
import { close, listen, urlOf } from '../listen.ts'

/** Milliseconds between two words. */
const interval = 160

const answer = `This answer stands for the completion of a language model. It is sent word by word, its events have no ids, and a
second request for it would start over and cost the same again. So the model is asked once. One gateway process reads the answer to
its end and stores each word in a log, whether anybody watches or not. Close this reader, or close the whole tab, and the
answer goes on. Open it again, here or in another tab, and the words that you missed are there at once, each of them exactly
once, followed by the rest as it is written. Kill the process that reads the answer, and within two seconds an event says so:
the words so far can still be read, and the answer is never passed off as complete.`

const words = answer.split(/\s+/)

interface Asked {
  /** The words that were sent in answer to the latest request. */
  words: number
  requests: number
}

/** A server of completions on a free port. A POST to `/completions/NAME` is answered word by word, without ids. */
export class Model {
  readonly #asked = new Map<string, Asked>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #onChange: () => void
  readonly #server = http.createServer((request, response) => this.#answer(request, response))
  #origin = ''

  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  urlOf(name: string): string {
    return `${this.#origin}/completions/${name}`
  }

  /** How often the model was asked for an answer, and how far the answer is. */
  progressOf(name: string): Readonly<Asked> {
    return this.#asked.get(name) ?? { words: 0, requests: 0 }
  }

  async start(): Promise<void> {
    this.#origin = new URL(urlOf(await listen(this.#server))).origin
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await close(this.#server)
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    request.resume()
    const [, name] = /^\/completions\/([\w-]+)$/.exec(request.url ?? '') ?? []
    if (request.method !== 'POST' || name === undefined) {
      response.writeHead(404).end()
      return
    }
    const asked = { words: 0, requests: this.progressOf(name).requests + 1 }
    this.#asked.set(name, asked)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    const timer = setInterval(() => {
      const word = words[asked.words]
      if (word === undefined) {
        response.end('data: [DONE]\n\n')
        return
      }
      asked.words++
      response.write(`data: ${JSON.stringify(`${word} `)}\n\n`)
      this.#onChange()
    }, interval)
    this.#timers.add(timer)
    response.on('close', () => {
      clearInterval(timer)
      this.#timers.delete(timer)
    })
  }
}
