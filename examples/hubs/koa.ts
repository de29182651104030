import { text } from 'node:stream/consumers'
import Koa from 'koa'
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

const app = new Koa().use(async (context) => {
  const { req, res, path, method } = context
  if (method === 'POST' && path.startsWith('/answers/')) {
    // A session, which goes on while its client is away. Decide here who may ask, and who may read which answer.
    await hub.start(path, answerTo(await text(req)), session)
    context.status = 202
    return
  }
  if (path !== '/feed' && !path.startsWith('/answers/')) return
  // The response is written here, and not by Koa.
  context.respond = false
  // All clients share one upstream connection.
  if (path === '/feed') await hub.relay(req, res, 'feed', upstream)
  else await hub.relay(req, res, path, undefined, session)
})
const server = app.listen(Number(PORT), () => console.log('listening', server.address()))
