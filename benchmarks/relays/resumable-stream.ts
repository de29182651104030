import type { RequestListener } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Redis } from 'ioredis'
import { createResumableStreamContext } from 'resumable-stream/ioredis'
import { fail, writeHead } from './head.ts'

/** A stream for each path. The process that has the upstream keeps the stream, and publishes it to those that ask for it. */
export default function relay(upstream: URL, redis: string): RequestListener {
  const context = createResumableStreamContext({
    waitUntil: null,
    publisher: new Redis(redis),
    subscriber: new Redis(redis),
  })
  return async (req, res) => {
    try {
      const stream = await context.resumableStream(req.url ?? '/', () => textOf(upstream))
      writeHead(res)
      if (stream) await pipeline(Readable.from(stream), res)
      else res.end()
    } catch {
      fail(res)
    }
  }
}

function textOf(upstream: URL): ReadableStream<string> {
  const { readable, writable } = new TextDecoderStream()
  fetch(upstream).then(
    ({ body }) => body?.pipeTo(writable).catch(() => {}),
    (error) => writable.abort(error),
  )
  return readable
}
