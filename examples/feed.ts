// One upstream for any number of clients. Open http://localhost:8080 in several tabs: the upstream has one connection.
import { once } from 'node:events'
import http from 'node:http'
import { createSseHub, httpUpstream } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? (await startMock()))
const hub = createSseHub()

const page = `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A shared feed</title><link rel="icon" href="data:,"><style>:root { color-scheme: light dark }</style>
<p role="status" id="state">Connecting</p><ol reversed id="list"></ol>
<script type="module">
  const source = new EventSource('/events')
  source.onopen = () => { state.textContent = 'Live' }
  source.onerror = () => { state.textContent = source.readyState === 2 ? 'Refused' : 'Connecting again' }
  source.onmessage = ({ data }) => {
    const item = document.createElement('li')
    item.textContent = data
    list.prepend(item)
  }
</script>`

/** Starts an upstream that can resume: it counts on from `Last-Event-ID`. Resolves with its URL. */
async function startMock(): Promise<string> {
  const mock = http.createServer((req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    let id = Number(req.headers['last-event-id'] ?? 0)
    const timer = setInterval(() => res.write(`id: ${++id}\ndata: event ${id}\n\n`), 1000)
    res.on('close', () => clearInterval(timer))
  })
  await once(mock.listen(0, '127.0.0.1'), 'listening')
  const address = mock.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/events`
}

const server = http.createServer((req, res) => {
  if (req.url === '/') {
    res.writeHead(200, { 'content-type': 'text/html' }).end(page)
    return
  }
  // A client gets the events from now on, and when it comes back those that it has missed.
  hub.relay(req, res, 'feed', upstream).catch((error) => {
    // A wrong option, or a fault in a function of yours.
    console.error(error)
    res.destroy(error)
  })
})
server.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()))
