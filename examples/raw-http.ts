import http from 'node:http'
import { pipeline } from 'node:stream'
import { createResilientSseSource, httpUpstream, lastEventIdFrom } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? 'http://localhost:3000/events')

const server = http.createServer((req, res) => {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' })
  res.flushHeaders()
  const source = createResilientSseSource(upstream, { lastEventId: lastEventIdFrom(req) })
  pipeline(source, res, (error) => error && console.error(error.message))
})
server.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()))
