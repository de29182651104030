import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { httpUpstream, relayResponse } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? 'http://localhost:3000/events')

const app = new Hono().get('/events', (context) => relayResponse(context.req.raw, upstream))
serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 8080) }, (address) => {
  console.log('listening', address)
})
