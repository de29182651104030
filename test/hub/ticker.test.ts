import { expect } from 'chai'
import { Ticker } from '../../src/hub/ticker.ts'
import { holdTime } from '../support/time.ts'

describe('the timer of a hub', () => {
  it('ticks each of many streams once in an interval, and never more than 32 of them at once', async () => {
    using time = holdTime()
    const ticks = new Map<string, number>()
    let together = 0
    const tick = (name: string) => () => {
      together++
      ticks.set(name, (ticks.get(name) ?? 0) + 1)
    }
    const streams = new Map(Array.from({ length: 1000 }, (_, n) => [`${n}`, { tick: tick(`${n}`) }] as const))
    const ticker = new Ticker(streams)
    ticker.start(4000)
    let most = 0
    for (let passed = 0; passed < 1900; passed++) {
      together = 0
      await time.pass(1)
      most = Math.max(most, together)
    }
    expect(most).to.equal(32)
    expect(ticks.size).to.equal(1000)
    expect(new Set(ticks.values())).to.have.property('size', 1)
    ticker.stop()
  })

  it('ticks streams that are added, and none that is removed or after it has stopped', async () => {
    using time = holdTime()
    let ticks: string[] = []
    const streams = new Map<string, { tick(): void }>()
    const add = (name: string) => streams.set(name, { tick: () => ticks.push(name) })
    const ticker = new Ticker(streams)
    add('a')
    ticker.start(4000)
    add('b')
    await time.pass(1000)
    expect(ticks).to.deep.equal(['a', 'b'])
    ticks = []
    streams.delete('a')
    ticker.start(400)
    await time.pass(100)
    expect(ticks).to.deep.equal(['b'])
    ticks = []
    ticker.stop()
    await time.pass(10_000)
    expect(ticks).to.deep.equal([])
  })

  it('ticks the first streams in each round while more are added than a round ticks', async () => {
    using time = holdTime()
    const ticks: number[] = []
    const streams = new Map<string, { tick(): void }>()
    const ticker = new Ticker(streams)
    streams.set('0', { tick: () => ticks.push(performance.now()) })
    ticker.start(4000)
    for (let n = 1; n <= 10_000; n++) {
      streams.set(`${n}`, { tick() {} })
      if (n % 2 === 0) await time.pass(1)
    }
    ticker.stop()
    expect(ticks.length).to.be.within(3, 5)
  })

  it('has no timer after it has stopped in a tick', async () => {
    using time = holdTime()
    let ticks = 0
    const streams = new Map<string, { tick(): void }>()
    const ticker = new Ticker(streams)
    const stop = () => {
      ticks++
      ticker.stop()
    }
    for (let n = 0; n < 100; n++) streams.set(`${n}`, { tick: stop })
    ticker.start(4000)
    for (let passed = 0; passed < 10_000; passed += 500) await time.pass(500)
    expect(ticks).to.equal(1)
  })

  it('has shorter rounds from the moment on at which a tick asks for them', async () => {
    using time = holdTime()
    let ticks = 0
    const streams = new Map<string, { tick(): void }>()
    const ticker = new Ticker(streams)
    const tick = () => {
      ticks++
      ticker.start(400)
    }
    streams.set('a', { tick })
    ticker.start(4000)
    await time.pass(1000)
    expect(ticks).to.equal(1)
    await time.pass(100)
    expect(ticks).to.equal(2)
    ticker.stop()
  })
})
