import type { RequestListener } from 'node:http'
import { httpUpstream, relaySse } from '../../dist/index.js'
import { certificate } from '../../test/support/certificate.ts'

export default function relay(upstream: URL): RequestListener {
  const factory = httpUpstream(upstream, upstream.protocol === 'https:' ? { ca: certificate.cert } : {})
  return (req, res) => {
    relaySse(req, res, factory).catch((error) => res.destroy(error))
  }
}
