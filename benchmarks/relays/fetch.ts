import type { RequestListener } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fail, requestHeaders, writeHead } from './head.ts'

export default function relay(upstream: URL): RequestListener {
  return async (req, res) => {
    const controller = new AbortController()
    res.on('close', () => controller.abort())
    try {
      const response = await fetch(upstream, { headers: requestHeaders(req), signal: controller.signal })
      writeHead(res, response.status)
      if (response.body === null) res.end()
      else await pipeline(Readable.fromWeb(response.body), res)
    } catch {
      fail(res)
    }
  }
}
