import type { RequestListener } from 'node:http'
import replyFrom from '@fastify/reply-from'
import { fastify } from 'fastify'

export default async function relay(upstream: URL): Promise<RequestListener> {
  const app = fastify({ logger: false })
  // Its default of 128 connections would be the number of streams; its time limits would end quiet ones.
  const undici = { connections: 65_536, pipelining: 1, bodyTimeout: 0 }
  await app.register(replyFrom, { base: upstream.origin, undici })
  app.get('*', (_, reply) => reply.from(upstream.pathname))
  await app.ready()
  return app.routing
}
