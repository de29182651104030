import type { RequestListener } from 'node:http'
import { httpUpstream, type SseHub } from '../../dist/index.js'

/** A stream for each path: an answer that is asked for once, and that goes on without its client. */
export function sessions(hub: SseHub, upstream: URL): RequestListener {
  const factory = httpUpstream(upstream)
  return (req, res) => {
    hub
      .relay(req, res, req.url ?? '/', factory, {
        linger: Number.POSITIVE_INFINITY,
        from: 'start',
        resume: 'before-first-event',
      })
      .catch((error) => res.destroy(error))
  }
}
