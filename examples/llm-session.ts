// An LLM's answer that goes on while its client is away. Open http://localhost:8080, press Send, and reload the page.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { createSseHub, httpUpstream, type SharedStreamOptions, type UpstreamFactory } from 'resilient-sse'

const { UPSTREAM = await startMock(), API_KEY, MODEL = 'gpt-4o-mini', PORT = 8080 } = process.env
const page = readFileSync(new URL('llm-session.html', import.meta.url))
const hub = createSseHub()

const options: SharedStreamOptions = {
  // The answer is read to its end, even when no client listens.
  linger: Number.POSITIVE_INFINITY,
  // A reloaded page gets the whole answer, so the log must have room for the longest one.
  from: 'start',
  retention: { events: 1_000_000, bytes: 16 * 1024 * 1024 },
  // A second request after the first event would start a second answer in the middle of the first one.
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
  errorEvent: ({ message }) => ({ data: JSON.stringify({ error: { message } }) }),
  retry: 1000,
}

const completion = (prompt: string): UpstreamFactory =>
  httpUpstream(UPSTREAM, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(API_KEY && { authorization: `Bearer ${API_KEY}` }) },
    body: JSON.stringify({ model: MODEL, stream: true, messages: [{ role: 'user', content: prompt }] }),
  })

async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { method = '', url = '', headers } = req
  const end = (status: number, body = '') => void res.writeHead(status).end(body)
  const [, session] = /(?:^|; )session=([\w-]{36})(?:;|$)/.exec(headers.cookie ?? '') ?? []
  if (method === 'GET' && url === '/') {
    const cookie = `session=${session ?? randomUUID()}; Path=/; HttpOnly; SameSite=Lax`
    res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'set-cookie': cookie }).end(page)
    return
  }
  const [, name] = /^\/answers\/([\w-]{1,64})$/.exec(url) ?? []
  if (name === undefined) return end(404)
  // Decides who may see a stream: the stream's name holds the session, so no client can name the stream of another session.
  if (session === undefined) return end(401)
  const stream = `${session}/${name}`
  if (method === 'POST') {
    if (!(Number(headers['content-length']) <= 10_000)) return end(413)
    // A second submit with the same name joins the first one: the upstream gets one request.
    await hub.start(stream, completion(await text(req)), options)
    end(202, name)
  } else if (method === 'GET') {
    // No upstream is given: a GET reads an answer that exists, and never asks for one.
    await hub.relay(req, res, stream, undefined, options)
  } else if (method === 'DELETE') {
    end((await hub.cancel(stream, 'stopped by the user')) ? 204 : 404)
  } else end(405)
}

/** Starts a stand-in for an LLM: each POST gets one word every 100 ms, without ids. Resolves with its URL. */
async function startMock(): Promise<string> {
  const words =
    `This answer arrives one word at a time. Reload the page, close the tab, or cut its connection: the server
    reads on, and the page that comes back gets every word once. Open the page in a second tab, and both show the same
    answer. Press Stop in one tab, and the answer ends in both. The model itself has been asked only once.`.split(
      /\s+/,
    )
  const mock = http.createServer((_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    let n = 0
    const timer = setInterval(() => {
      const content = `${words[n++]} `
      res.write(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`)
      if (n === words.length) res.end('data: [DONE]\n\n')
    }, 100)
    res.on('close', () => clearInterval(timer))
  })
  await once(mock.listen(0, '127.0.0.1'), 'listening')
  const address = mock.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/v1/chat/completions`
}

const server = http.createServer((req, res) => {
  handle(req, res).catch((error) => {
    // A wrong option, or a fault in a function of yours.
    console.error(error)
    res.destroy(error)
  })
})
server.listen(Number(PORT), () => console.log('listening', server.address()))
