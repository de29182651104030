import { once } from 'node:events'
import net from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Deadline } from '../../src/http/deadline.ts'
import { holdTime } from '../support/time.ts'

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

  it('shares one timer among deadlines with the same limit', () => {
    const before = process.getActiveResourcesInfo().length
    const deadlines = Array.from({ length: 10 }, () => new Deadline(60_000, () => {}))
    const other = new Deadline(50_000, () => {})
    expect(process.getActiveResourcesInfo()).to.have.length(before + 2)
    for (const deadline of [...deadlines, other]) deadline.clear()
    expect(process.getActiveResourcesInfo()).to.have.length(before)
  })

  it('is up in its turn among others with the same limit, each of which may be refreshed or cleared', async () => {
    using time = holdTime()
    const up: string[] = []
    const start = (name: string) => new Deadline(100, () => up.push(name))
    const [first, second] = [start('first'), start('second')]
    start('third')
    await time.pass(40)
    first.refresh()
    second.clear()
    start('fourth')
    await time.pass(60)
    expect(up).to.deep.equal(['third'])
    await time.pass(40)
    expect(up).to.deep.equal(['third', 'first', 'fourth'])
    second.refresh()
    first.refresh()
    await time.pass(100)
    expect(up).to.deep.equal(['third', 'first', 'fourth', 'first'])
  })

  it('is up although the function of another one has thrown', async () => {
    const fault = new Error('a fault of the function')
    const faults: unknown[] = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => faults.push(error))
    try {
      new Deadline(5, () => {
        throw fault
      })
      await new Promise<void>((resolve) => new Deadline(5, resolve))
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
    expect(faults).to.deep.equal([fault])
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
