import http, { type RequestListener } from 'node:http'
import https from 'node:https'
import { pipeline } from 'node:stream'
import { certificate } from '../../test/support/certificate.ts'
import { fail, requestHeaders, writeHead } from './head.ts'

/** The bare pipe: what all others are compared with. */
export default function relay(upstream: URL): RequestListener {
  const isSecure = upstream.protocol === 'https:'
  const { get } = isSecure ? https : http
  const agent = isSecure
    ? new https.Agent({ keepAlive: true, ca: certificate.cert })
    : new http.Agent({ keepAlive: true })
  return (req, res) => {
    const request = get(upstream, { agent, headers: requestHeaders(req) }, (response) => {
      writeHead(res, response.statusCode)
      pipeline(response, res, () => {})
    })
    request.on('error', () => fail(res))
    res.on('close', () => request.destroy())
  }
}
