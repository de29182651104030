import { once } from 'node:events'
import net from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Deadline } from '../../src/http/deadline.ts'

/** Blocks the event loop, as a busy process does. */
function work(duration: number): void {
  const end = performance.now() + duration
  while (performance.now() < end);
}

/** Two ends of a connection. */
async function pair(): Promise<{ near: net.Socket; far: net.Socket; close(): Promise<void> }> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const far = net.connect(address.port, '127.0.0.1')
  const [near]: net.Socket[] = await once(server, 'connection')
  if (!near) throw new Error('no connection')
  if (far.connecting) await once(far, 'connect')
  return {
    near,
    far,
    async close() {
      near.destroy()
      far.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('Deadline', () => {
  it('calls the function after the limit', async () => {
    await new Promise<void>((resolve) => new Deadline(5, resolve))
  })

  it('never calls the function with the limit 0', () => {
    const timers = process.getActiveResourcesInfo().length
    const deadline = new Deadline(0, () => {})
    deadline.refresh()
    deadline.clear()
    expect(process.getActiveResourcesInfo()).to.have.length(timers)
  })

  for (const sign of ['refresh', 'clear'] as const) {
    it(`does not call the function before pending input was read, when the input leads to ${sign}()`, async () => {
      const { near, far, close } = await pair()
      const order: string[] = []
      const deadline = new Deadline(10, () => order.push('up'))
      near.once('data', () => {
        order.push('read')
        deadline[sign]()
      })
      const read = once(near, 'data')
      // The byte arrives at once, but this process is busy until after the limit.
      far.write('x')
      work(30)
      await read
      if (sign === 'refresh') await nextTurn()
      expect(order).to.deep.equal(['read'])
      deadline.clear()
      await close()
    })
  }
})
