import type { RequestListener } from 'node:http'
import { createSseHub, httpUpstream } from '../../dist/index.js'
import { heartbeat } from './feed.ts'

/** One stream for all clients. */
export default function relay(upstream: URL): RequestListener {
  const hub = createSseHub()
  const factory = httpUpstream(upstream)
  return (req, res) => {
    // The upstream closes with its last client, so that the next measurement opens it anew.
    hub.relay(req, res, 'feed', factory, { linger: 0, heartbeat }).catch((error) => res.destroy(error))
  }
}
