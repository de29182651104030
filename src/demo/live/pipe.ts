import http from 'node:http'
import { close, listen, urlOf } from '../listen.ts'
import type { Guard } from './guard.ts'

/** A gateway as it is often written: the upstream's answer is piped into the response. */
export interface Pipe {
  readonly url: string
  /** The clients that are connected. */
  readonly clients: number
  close(): Promise<void>
}

export async function startPipe(upstreamUrl: string, guard: Guard, onChange: () => void): Promise<Pipe> {
  let clients = 0
  const count = (change: 1 | -1) => {
    clients += change
    onChange()
  }
  const server = http.createServer((request, response) => {
    if (!guard.admits(request, response)) return
    const { 'last-event-id': id } = request.headers
    const headers = { accept: 'text/event-stream', ...(id !== undefined && { 'last-event-id': id }) }
    const asked = http.get(`${upstreamUrl}?reader=pipe`, { agent: false, headers })
    asked.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    // Only a request without an answer has this error: a lost answer neither fails nor ends what it is piped into.
    asked.on('error', () => response.headersSent || response.writeHead(502).end())
    count(1)
    response.on('close', () => {
      asked.destroy()
      count(-1)
    })
  })
  const port = await listen(server)
  guard.serves(port)
  return {
    url: urlOf(port),
    get clients() {
      return clients
    },
    close: () => close(server),
  }
}
