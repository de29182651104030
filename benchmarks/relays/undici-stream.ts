import type { RequestListener } from 'node:http'
import { Agent, stream } from 'undici'
import { fail, requestHeaders, writeHead } from './head.ts'

export default function relay(upstream: URL): RequestListener {
  // Quiet streams must not be ended.
  const dispatcher = new Agent({ bodyTimeout: 0 })
  return (req, res) => {
    const controller = new AbortController()
    res.on('close', () => controller.abort())
    const options = {
      dispatcher,
      method: 'GET',
      headers: requestHeaders(req),
      signal: controller.signal,
    } as const
    stream(upstream, options, ({ statusCode }) => {
      writeHead(res, statusCode)
      return res
    }).catch(() => fail(res))
  }
}
