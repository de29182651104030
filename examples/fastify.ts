import { fastify } from 'fastify'
import { httpUpstream, relaySse } from 'resilient-sse'

const upstream = httpUpstream(process.env.UPSTREAM ?? 'http://localhost:3000/events')

const app = fastify().get('/events', (request, reply) => {
  reply.hijack()
  relaySse(request.raw, reply.raw, upstream).catch((error) => {
    request.log.error(error)
    reply.raw.destroy(error)
  })
})
await app.listen({ port: Number(process.env.PORT ?? 8080) })
console.log('listening', app.server.address())
