import fs from 'node:fs'
import type { RequestListener, ServerResponse } from 'node:http'
import os from 'node:os'
import path from 'node:path'
import { createFeed, joinFeed } from './feed.ts'
import { writeHead } from './head.ts'

/** Serves one upstream to many clients, and keeps its bytes in a file for clients that return. */
export default function relay(upstream: URL): RequestListener {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-file-'))
  process.on('exit', () => fs.rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'events')
  const responses = new Set<ServerResponse>()
  const feed = createFeed(upstream, (chunk) => {
    fs.appendFileSync(file, chunk)
    for (const res of responses) res.write(chunk)
  })
  return (req, res) => {
    writeHead(res)
    if (req.headers['last-event-id'] !== undefined) {
      const bytes = fs.createReadStream(file)
      bytes.pipe(res, { end: false })
      res.on('close', () => bytes.destroy())
      return
    }
    joinFeed(feed, responses, res)
  }
}
