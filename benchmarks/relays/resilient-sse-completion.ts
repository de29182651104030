import type { RequestListener } from 'node:http'
import { httpUpstream, relaySse } from '../../dist/index.js'

/** An answer that is asked for once, for one client. */
export default function relay(upstream: URL): RequestListener {
  const factory = httpUpstream(upstream)
  return (req, res) => {
    relaySse(req, res, factory, { resume: 'before-first-event' }).catch((error) => res.destroy(error))
  }
}
