import { pipeline } from 'node:stream'
import express from 'express'
import { createResilientSseSource, httpUpstream, lastEventIdFrom } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? 'http://localhost:3000/events')

const app = express().get('/events', (req, res) => {
  res.set({ 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' }).flushHeaders()
  const source = createResilientSseSource(upstream, { lastEventId: lastEventIdFrom(req) })
  pipeline(source, res, (error) => error && console.error(error.message))
})
const server = app.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()))
