import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { wholeBetween } from './random.ts'

/** How an answer ends. `part` is the beginning of an event that is sent last and never finished. */
export interface Ending {
  readonly how:
    | 'end'
    /** The connection is closed before the end of the body: without a last chunk, or with fewer bytes than announced. */
    | 'close'
    | 'reset'
    /** A reset that does not wait for pending writes, which may be lost. */
    | 'reset at once'
    /** The connection is closed within a chunk. */
    | 'truncated chunk'
    /** No byte is sent, and the connection stays open until the other side closes the connection. */
    | 'silence'
  readonly part?: Buffer
}

/** An ending within an event: a clean end, or a closed connection. */
export function cut(event: Buffer, chance: number): Ending {
  const part = event.subarray(0, wholeBetween(1, event.length - 1, chance))
  // The parity decides, so that both endings are tested at many positions.
  return { how: part.length % 2 === 0 ? 'end' : 'close', part }
}

/** Ends an answer whose head may not have been sent. */
export async function endWith(response: ServerResponse, { how, part }: Ending): Promise<void> {
  const { socket } = response
  switch (how) {
    case 'end':
      response.end(part)
      return
    case 'reset at once':
      socket?.resetAndDestroy()
      return
    case 'silence':
      if (part) response.write(part)
      return
    case 'truncated chunk':
      await written(response)
      socket?.write(Buffer.concat([Buffer.from('ffff\r\n'), part ?? Buffer.alloc(0)]), () => socket.destroy())
      return
    case 'reset':
    case 'close':
      if (part) response.write(part)
      await written(response)
      await nextTurn()
      if (how === 'reset') socket?.resetAndDestroy()
      else socket?.destroy()
  }
}

/** Waits until all bytes were passed to the operating system, or the response is closed. */
async function written(response: ServerResponse): Promise<void> {
  // A write would send a head, and this answer must not have one.
  if (!response.headersSent) return
  await new Promise<void>((resolve) => {
    response.once('close', resolve)
    response.write('', () => resolve())
  })
}
