import http, { type RequestListener } from 'node:http'
import { pipeline } from 'node:stream'
import { fail, requestHeaders, writeHead } from './head.ts'

/** The bare pipe: what all others are compared with. */
export default function relay(upstream: URL): RequestListener {
  const agent = new http.Agent({ keepAlive: true })
  return (req, res) => {
    const request = http.get(upstream, { agent, headers: requestHeaders(req) }, (response) => {
      writeHead(res, response.statusCode)
      pipeline(response, res, () => {})
    })
    request.on('error', () => fail(res))
    res.on('close', () => request.destroy())
  }
}
