import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { createSseHub, httpUpstream, type SharedStreamOptions } from 'resilient-sse'

const {
  UPSTREAM = 'http://localhost:3000/events',
  MODEL = 'http://localhost:3000/answer',
  PORT = 8080,
} = process.env
const upstream = httpUpstream(UPSTREAM)
const hub = createSseHub()

/** The model is asked once. Its answer is read to the end, and kept for readers that come late or come back. */
const session: SharedStreamOptions = {
  from: 'start',
  linger: Number.POSITIVE_INFINITY,
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
}
const answerTo = (body: string) =>
  httpUpstream(MODEL, { method: 'POST', headers: { 'content-type': 'application/json' }, body })

async function handle(req: IncomingMessage, res: ServerResponse): Promise<unknown> {
  const { method, url = '' } = req
  // All clients share one upstream connection.
  if (url === '/feed') return hub.relay(req, res, 'feed', upstream)
  if (!url.startsWith('/answers/')) return res.writeHead(404).end()
  // A session, which goes on while its client is away. Decide here who may ask, and who may read which answer.
  if (method !== 'POST') return hub.relay(req, res, url, undefined, session)
  await hub.start(url, answerTo(await text(req)), session)
  return res.writeHead(202).end()
}

const server = http.createServer((req, res) => {
  handle(req, res).catch((error) => {
    // A wrong option, or a fault in a function of yours.
    console.error(error)
    res.destroy(error)
  })
})
server.listen(Number(PORT), () => console.log('listening', server.address()))
