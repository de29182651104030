import { serve } from '@hono/node-server'
import { Hono } from 'hono'
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

const app = new Hono()
  // All clients share one upstream connection.
  .get('/feed', ({ req }) => hub.respond(req.raw, 'feed', upstream))
  // A session, which goes on while its client is away. Decide here who may ask, and who may read which answer.
  .post('/answers/:name', async ({ req, body }) => {
    await hub.start(req.path, answerTo(await req.text()), session)
    return body(null, 202)
  })
  .get('/answers/:name', ({ req }) => hub.respond(req.raw, req.path, undefined, session))
serve({ fetch: app.fetch, port: Number(PORT) }, (address) => {
  console.log('listening', address)
})
