import type { RequestListener, ServerResponse } from 'node:http'
import { createFeed, heartbeat, joinFeed } from './feed.ts'
import { writeHead } from './head.ts'

/** The least that serves one upstream to many clients: each chunk is written to each response. */
export default function relay(upstream: URL): RequestListener {
  const responses = new Set<ServerResponse>()
  let isSilent = true
  const writeAll = (bytes: Buffer) => {
    for (const res of responses) res.write(bytes)
  }
  const feed = createFeed(upstream, (chunk) => {
    isSilent = false
    writeAll(chunk)
  })
  const comment = Buffer.from(':\n')
  setInterval(() => {
    if (isSilent) writeAll(comment)
    isSilent = true
  }, heartbeat)
  return (_, res) => {
    writeHead(res)
    joinFeed(feed, responses, res)
  }
}
