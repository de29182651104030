import http, { type RequestListener } from 'node:http'
import { fail, requestHeaders, writeHead } from './head.ts'

/**
 * The least that comes back after a clean end: no backoff, no check of what is answered, no duplicate noticed, half
 * events passed on, of several in one chunk only the first one's id known. No relay over node:http can be below this.
 */
export default function relay(upstream: URL): RequestListener {
  const agent = new http.Agent({ keepAlive: true })
  return (req, res) => {
    let lastEventId: string | undefined
    let request: http.ClientRequest | undefined
    const dial = () => {
      const headers = {
        ...requestHeaders(req),
        ...(lastEventId !== undefined && { 'last-event-id': lastEventId }),
      }
      request = http.get(upstream, { agent, headers }, (response) => {
        if (!res.headersSent) writeHead(res, response.statusCode)
        response.on('data', (chunk: Buffer) => {
          const start = chunk.indexOf('id: ')
          if (start === -1) return
          lastEventId = chunk.toString('latin1', start + 'id: '.length, chunk.indexOf('\n', start))
          res.write(chunk.subarray(start))
        })
        // The library's delay after a clean end.
        response.on('end', () => setTimeout(dial, 100 * Math.random()))
      })
      request.on('error', () => fail(res))
    }
    dial()
    res.on('close', () => request?.destroy())
  }
}
