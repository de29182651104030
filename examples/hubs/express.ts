import { text } from 'node:stream/consumers'
import express from 'express'
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

const app = express()
  // All clients share one upstream connection.
  .get('/feed', async (req, res) => {
    await hub.relay(req, res, 'feed', upstream)
  })
  // A session, which goes on while its client is away. Decide here who may ask, and who may read which answer.
  .post('/answers/:name', async (req, res) => {
    await hub.start(`answers/${req.params.name}`, answerTo(await text(req)), session)
    res.status(202).end()
  })
  .get('/answers/:name', async (req, res) => {
    await hub.relay(req, res, `answers/${req.params.name}`, undefined, session)
  })
const server = app.listen(Number(PORT), () => console.log('listening', server.address()))
