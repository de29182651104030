import type { RequestListener } from 'node:http'
import { pipeline } from 'node:stream'
import { createResilientSseSource, httpUpstream, lastEventIdFrom } from '../../dist/index.js'
import { writeHead } from './head.ts'

export default function relay(upstream: URL): RequestListener {
  const factory = httpUpstream(upstream)
  return (req, res) => {
    writeHead(res)
    pipeline(createResilientSseSource(factory, { lastEventId: lastEventIdFrom(req) }), res, () => {})
  }
}
