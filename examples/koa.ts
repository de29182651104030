import Koa from 'koa'
import { httpUpstream, relaySse } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? 'http://localhost:3000/events')

const app = new Koa().use(async (context) => {
  context.respond = false
  await relaySse(context.req, context.res, upstream)
})
const server = app.listen(Number(process.env.PORT ?? 8080), () => console.log('listening', server.address()))
