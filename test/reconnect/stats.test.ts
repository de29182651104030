import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import { httpUpstream } from '../../src/index.ts'
import { fast, next, wire } from '../support/events.ts'
import { dataOf, inEachMode, outcomeOf } from '../support/modes.ts'
import { answers, ends, resets, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

inEachMode('state and stats', ({ open }) => {
  it('show the state of the source', async () => {
    await using server = await serveInTurn(resets(wire(1)), stays(wire(2)))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'event 2',
    })
    const states: string[] = [source.state]
    for (const event of ['open', 'drop', 'retry'] as const)
      source.on(event, () => states.push(`${event} ${source.state}`))
    await outcomeOf(source)
    states.push(source.state)
    expect(states).to.deep.equal([
      'connecting',
      'open open',
      'drop waiting',
      'retry waiting',
      'open open',
      'ended',
    ])
  })

  it('show that an attempt is being made, also after a drop', async () => {
    const states: string[] = []
    const bodies = [[wire(1)], [wire(2)]]
    const source = open(
      () => {
        states.push(source.state)
        return Readable.from(bodies.shift() ?? [])
      },
      { reconnect: fast, last: 'event 2' },
    )
    await dataOf(source)
    expect(states.slice(0, 2)).to.deep.equal(['connecting', 'connecting'])
  })

  it('count attempts, drops, events and bytes', async () => {
    const last = wire(3, 'end')
    await using server = await serveInTurn(
      answers(503),
      resets(wire(1)),
      ends(wire(1) + wire(2)),
      stays(last),
    )
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'end',
    })
    await outcomeOf(source)
    const { downtime, lastError, ...counts } = source.stats
    expect(counts).to.deep.equal({
      attempts: 4,
      opens: 3,
      gaps: 0,
      drops: { end: 1, reset: 1, 'idle-timeout': 0 },
      events: 3,
      duplicates: 1,
      bytes: wire(1).length * 2 + wire(2).length + last.length,
    })
    expect(downtime).to.be.above(0)
    expect(lastError).to.include({ code: 'ERR_SSE_DROPPED' })
  })

  it('downtime includes the outage that still goes on', async () => {
    await using server = await serve(answers(503))
    const source = open(httpUpstream(server.url), { reconnect: { baseDelay: 60_000 } })
    source.resume()
    await next(source, 'retry')
    const { downtime } = source.stats
    await until(
      () => source.stats.downtime > downtime,
      () => 'downtime grows',
    )
    source.destroy()
    const after = source.stats.downtime
    await new Promise(setImmediate)
    expect(source.stats.downtime).to.equal(after)
  })

  it('are announced at the end, also of a source that is destroyed', async () => {
    await using server = await serve(stays(wire(1)))
    const ends: unknown[] = []
    const note = (message: unknown) => ends.push(message)
    subscribe('resilient-sse:end', note)
    const source = open(httpUpstream(server.url), { name: 'mine' })
    source.on('data', () => source.destroy())
    await until(
      () => source.closed,
      () => 'it closes',
    )
    unsubscribe('resilient-sse:end', note)
    expect(ends).to.have.length(1)
    expect(ends[0]).to.include({ outcome: 'aborted', name: 'mine', error: undefined, failed: false })
    expect(ends[0]).to.have.nested.property('stats.opens', 1)
  })
})
