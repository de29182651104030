import { type FastifyReply, fastify } from 'fastify'
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

/** Takes the response from Fastify, which would otherwise end it. */
function takeOver(reply: FastifyReply, relay: (res: FastifyReply['raw']) => Promise<unknown>): void {
  reply.hijack()
  relay(reply.raw).catch((error) => {
    reply.log.error(error)
    reply.raw.destroy(error)
  })
}

const app = fastify()
// All clients share one upstream connection.
app.get('/feed', ({ raw }, reply) => takeOver(reply, (res) => hub.relay(raw, res, 'feed', upstream)))
// A session, which goes on while its client is away. Decide here who may ask, and who may read which answer.
app.post('/answers/:name', async ({ url, body }, reply) => {
  await hub.start(url, answerTo(JSON.stringify(body)), session)
  return reply.code(202).send()
})
app.get('/answers/:name', ({ raw, url }, reply) =>
  takeOver(reply, (res) => hub.relay(raw, res, url, undefined, session)),
)
await app.listen({ port: Number(PORT) })
console.log('listening', app.server.address())
