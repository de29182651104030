import type { RequestListener, ServerResponse } from 'node:http'
import { createFeed, joinFeed } from './feed.ts'
import { writeHead } from './head.ts'

/** The most bytes of events in a write, as in a hub, which has at most 64 kB wait for a client that does not read. */
const mostBytes = 63_900

/**
 * The least that a hub has to write: the loop, with an id as long as a hub's in each event, in as many writes as a hub makes, each of
 * them a chunk that is made once and written straight to the sockets.
 */
export default function relay(upstream: URL): RequestListener {
  const responses = new Set<ServerResponse>()
  const idLine = `id: ${Date.now()}-10000/`
  const feed = createFeed(upstream, (chunk) => {
    const bytes = Buffer.from(chunk.toString('latin1').replaceAll('id: ', idLine), 'latin1')
    const chunks: Buffer[] = []
    for (let at = 0; at < bytes.length; at += mostBytes)
      chunks.push(chunkOf(bytes.subarray(at, at + mostBytes)))
    for (const res of responses) for (const each of chunks) res.socket?.write(each)
  })
  return (_, res) => {
    writeHead(res)
    joinFeed(feed, responses, res)
  }
}

function chunkOf(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}
