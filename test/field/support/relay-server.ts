// A small server that relays, as a user of the library would write it: a path to the same path of its upstream.
import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { httpUpstream, relaySse } from 'resilient-sse'

const [upstream = '', port = '0', settings = '{}'] = process.argv.slice(2)
const { baseDelay, maxDelay, maxRetries, jitter, ...options } = JSON.parse(settings)
const reconnect = { baseDelay, maxDelay, maxRetries, jitter }

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.url === '/') {
    // A page to run scripts in, of the same origin.
    res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>')
    return
  }
  const { 'content-type': type = 'text/plain', authorization = '' } = req.headers
  const post = {
    method: 'POST',
    headers: { 'content-type': type, authorization },
    body: await buffer(req),
  }
  const factory = httpUpstream(`${upstream}${req.url}`, req.method === 'POST' ? post : {})
  await relaySse(req, res, factory, { ...options, reconnect })
}

const server = http.createServer((req, res) => {
  answer(req, res).catch((fault: unknown) => {
    console.error(fault)
    res.destroy()
  })
})
server.listen(Number(port), '127.0.0.1')
await once(server, 'listening')
const address = server.address()
console.error(`listening address=127.0.0.1:${typeof address === 'object' ? address?.port : address}`)
process.on('SIGTERM', () => process.exit(0))
