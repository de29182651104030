import { once } from 'node:events'
import net from 'node:net'
import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { Deadline } from '../../src/http/deadline.ts'
import { longestTimer } from '../../src/http/timer-wheel.ts'
import { createRandom, oneOf, wholeBetween } from '../support/flaky-upstream.ts'
import { holdTime } from '../support/time.ts'

/** Blocks the event loop, as a busy process does. */
function work(duration: number): void {
  // Not performance.now(): a test that has timed out may still hold that clock.
  const end = Date.now() + duration
  while (Date.now() < end);
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

/** A deadline that calls a function without arguments. */
function deadline(limit: number, onTime: () => void, keepsAlive?: boolean): Deadline<() => void> {
  return new Deadline(limit, (call) => call(), onTime, keepsAlive)
}

describe('Deadline', () => {
  it('calls the function after the limit, with the target and the limit', async () => {
    const args = await new Promise((resolve) => new Deadline(5, (...args) => resolve(args), 'target'))
    expect(args).to.deep.equal(['target', 5])
  })

  it('never calls the function with the limit 0', () => {
    const timers = process.getActiveResourcesInfo().length
    const never = deadline(0, () => {})
    never.refresh()
    never.clear()
    expect(process.getActiveResourcesInfo()).to.have.length(timers)
  })

  it('shares one timer among all deadlines, whatever their limits are', () => {
    const before = process.getActiveResourcesInfo().length
    const deadlines = Array.from({ length: 3000 }, (_, n) => deadline(50_000 + n, () => {}))
    expect(process.getActiveResourcesInfo()).to.have.length(before + 1)
    for (const each of deadlines) each.clear()
    expect(process.getActiveResourcesInfo()).to.have.length(before)
  })

  it('sets no timer when it is refreshed', () => {
    const refreshed = deadline(50_000, () => {})
    const setTimer = mock.method(globalThis, 'setTimeout')
    for (let n = 0; n < 1000; n++) refreshed.refresh()
    setTimer.mock.restore()
    expect(setTimer.mock.callCount()).to.equal(0)
    refreshed.clear()
  })

  it('keeps the process alive, unless keepsAlive is false', () => {
    const before = process.getActiveResourcesInfo().length
    const background = deadline(50_000, () => {}, false)
    expect(process.getActiveResourcesInfo()).to.have.length(before)
    const waitedFor = deadline(60_000, () => {})
    expect(process.getActiveResourcesInfo()).to.have.length(before + 1)
    waitedFor.clear()
    expect(process.getActiveResourcesInfo()).to.have.length(before)
    background.clear()
  })

  it('fires when its limit is over, neither earlier nor later, if it is alone', async () => {
    using time = holdTime()
    for (const limit of [1, 63, 64, 999, 15_000, 86_400_000]) {
      let fired = 0
      deadline(limit, () => fired++)
      await time.pass(limit - 1)
      expect(fired, `before ${limit} ms`).to.equal(0)
      await time.pass(1)
      expect(fired, `after ${limit} ms`).to.equal(1)
    }
  })

  it('fires at most a thirty-second part of its limit late among thousands of others, and never early', async () => {
    using time = holdTime()
    const late: number[] = []
    const limits = [40, 100, 1000, 15_000] as const
    const random = createRandom(1)
    for (let n = 0; n < 3000; n++) {
      const limit = oneOf(limits, random())
      const due = performance.now() + limit
      deadline(limit, () => late.push((performance.now() - due) / limit))
      if (n % 3 === 2) await time.pass(wholeBetween(0, 2, random()))
    }
    for (let passed = 0; passed < 15_500; passed++) await time.pass(1)
    expect(late).to.have.length(3000)
    expect(Math.max(...late)).to.be.at.most(1 / 32)
    // The clock of a test is exact to a fraction of a nanosecond.
    expect(Math.min(...late)).to.be.at.least(-1e-9)
  })

  it('is not over at once when its limit is longer than that of a timer of Node', async () => {
    using time = holdTime()
    let fired = 0
    deadline(3 * longestTimer, () => fired++)
    await time.pass(longestTimer)
    await time.pass(longestTimer)
    expect(fired).to.equal(0)
    await time.pass(longestTimer)
    expect(fired).to.equal(1)
  })

  it('fires in its turn among others with the same limit, each of which may be refreshed or cleared', async () => {
    using time = holdTime()
    const fired: string[] = []
    const start = (name: string) => deadline(100, () => fired.push(name))
    const [first, second] = [start('first'), start('second')]
    start('third')
    await time.pass(40)
    first.refresh()
    second.clear()
    start('fourth')
    await time.pass(60)
    expect(fired).to.deep.equal(['third'])
    await time.pass(40)
    expect(fired).to.have.members(['third', 'first', 'fourth'])
    second.refresh()
    first.refresh()
    await time.pass(100)
    expect(fired).to.have.length(4)
    expect(fired.at(-1)).to.equal('first')
  })

  it('fires before an earlier one that was refreshed', async () => {
    using time = holdTime()
    const fired: string[] = []
    const long = deadline(1000, () => fired.push('long'))
    await time.pass(500)
    deadline(900, () => fired.push('short'))
    await time.pass(400)
    long.refresh()
    await time.pass(500)
    expect(fired).to.deep.equal(['short'])
    await time.pass(500)
    expect(fired).to.deep.equal(['short', 'long'])
  })

  it('may be refreshed, cleared or started by the function of another one', async () => {
    using time = holdTime()
    const fired: string[] = []
    const first = deadline(100, () => {
      fired.push('first')
      first.refresh()
      second.refresh()
      third.clear()
      deadline(50, () => fired.push('fourth'))
    })
    const second = deadline(100, () => fired.push('second'))
    const third = deadline(100, () => fired.push('third'))
    await time.pass(100)
    expect(fired).to.deep.equal(['first'])
    await time.pass(50)
    expect(fired).to.deep.equal(['first', 'fourth'])
    await time.pass(50)
    expect(fired.slice(2, 3)).to.deep.equal(['first'])
    first.clear()
    second.clear()
    third.clear()
  })

  it('fires although the function of another one has thrown', async () => {
    const fault = new Error('a fault of the function')
    const faults: unknown[] = []
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => faults.push(error))
    try {
      deadline(5, () => {
        throw fault
      })
      await new Promise<void>((resolve) => deadline(5, resolve))
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
      const silence = deadline(10, () => order.push('up'))
      near.once('data', () => {
        order.push('read')
        silence[sign]()
      })
      const read = once(near, 'data')
      // The byte arrives at once, but this process is busy until after the limit.
      far.write('x')
      work(30)
      await read
      if (sign === 'refresh') await nextTurn()
      expect(order).to.deep.equal(['read'])
      silence.clear()
      await close()
    })
  }
})
