import http, { type RequestListener, type ServerResponse } from 'node:http'
import { createClient } from 'redis'
import { writeHead } from './head.ts'

/**
 * Open responses, and little else: one subscription to everything tells a process which of them to write to. Whoever is first reads
 * the upstream of a path, and nothing is kept.
 */
export default async function relay(upstream: URL, redis: string): Promise<RequestListener> {
  const publisher = createClient({ url: redis })
  const subscriber = publisher.duplicate()
  await Promise.all([publisher.connect(), subscriber.connect()])
  const responses = new Map<string, ServerResponse>()
  await subscriber.pSubscribe('*', (bytes, path) => responses.get(String(path))?.write(bytes), true)
  const read = (path: string) => {
    http.get(upstream, (response) => {
      response.on('error', () => {})
      response.on('data', (chunk) => void publisher.publish(path, chunk))
    })
  }
  return async (req, res) => {
    const path = req.url ?? '/'
    writeHead(res)
    responses.set(path, res)
    res.on('close', () => responses.delete(path))
    if (await publisher.set(`${path}:owner`, '1', { condition: 'NX' })) read(path)
  }
}
