import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { wholeBetween } from './random.ts'

/** How an answer is over. `part` is what is still sent of an event that is never finished. */
export interface Ending {
  readonly how:
    | 'end'
    /** The connection is closed in the middle of the body: no last chunk, or fewer bytes than announced. */
    | 'close'
    | 'reset'
    /** A reset that does not wait for what was written: the latest writes may never arrive. */
    | 'reset at once'
    /** A chunk that is announced as longer than it is; then the connection is closed. */
    | 'truncated chunk'
    /** Nothing more is sent, and the connection stays open until the other side has had enough of it. */
    | 'silence'
  readonly part?: Buffer
}

/** An ending within an event: the stream then ends as if it were whole, or the connection is closed. */
export function cut(event: Buffer, chance: number): Ending {
  const part = event.subarray(0, wholeBetween(1, event.length - 1, chance))
  // By the position's parity, so that both come about anywhere in an event.
  return { how: part.length % 2 === 0 ? 'end' : 'close', part }
}

/** Ends an answer, which may have no head yet. */
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

/** Waits until the socket has taken everything, or is gone. */
async function written(response: ServerResponse): Promise<void> {
  // A write would send a head that was never meant to be sent.
  if (!response.headersSent) return
  await new Promise<void>((resolve) => {
    response.once('close', resolve)
    response.write('', () => resolve())
  })
}
