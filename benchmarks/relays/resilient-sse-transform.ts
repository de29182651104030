import type { RequestListener } from 'node:http'
import { httpUpstream, relaySse, type SseEvent } from '../../dist/index.js'

/** Events pass a function of the user's own inside the relay. */
export default function relay(upstream: URL): RequestListener {
  const factory = httpUpstream(upstream)
  return (req, res) => {
    relaySse(req, res, factory, { transform: pass }).catch((error) => res.destroy(error))
  }
}

const pass = (event: SseEvent) => event
