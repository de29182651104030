import type { RequestListener } from 'node:http'
import { stream } from '../../support/server.ts'

/** What came of a stream until its end, its failure, or as many items as nobody expects. */
export async function collect<Item>(
  items: AsyncIterable<Item>,
  most = Number.POSITIVE_INFINITY,
): Promise<{ readonly got: readonly Item[]; readonly error: unknown }> {
  const got: Item[] = []
  try {
    for await (const item of items) if (got.push(item) >= most) break
    return { got, error: undefined }
  } catch (error) {
    return { got, error }
  }
}

/** A script of an upstream: reads the request, writes the chunks, and breaks off without the body's last chunk. */
export function breaksOff(...chunks: readonly string[]): RequestListener {
  return (request, response) => {
    // Closing over unread bytes would be a reset, which discards what the other side has not read yet.
    request.resume().on('end', () => {
      stream(response).write(chunks.join(''), () => setImmediate(() => request.socket.destroy()))
    })
  }
}
