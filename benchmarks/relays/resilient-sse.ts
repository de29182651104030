import type { RequestListener } from 'node:http'
import { httpUpstream, relaySse } from '../../dist/index.js'

export default function relay(upstream: URL): RequestListener {
  const factory = httpUpstream(upstream)
  return (req, res) => {
    relaySse(req, res, factory).catch((error) => res.destroy(error))
  }
}
