import type { RequestListener } from 'node:http'
import { createSseProxy } from '../../dist/index.js'

/** The whole proxy: it asks the upstream for the path that it was asked for. */
export default function relay(upstream: URL): RequestListener {
  return createSseProxy({ upstream: upstream.origin })
}
