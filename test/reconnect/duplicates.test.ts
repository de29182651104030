import { expect } from 'chai'
import { EventTracker, httpUpstream } from '../../src/index.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { dataOf, inEachMode, type ModeOptions, readingModes } from '../support/modes.ts'
import { ends, resets, serve, serveInTurn, stays } from '../support/server.ts'

inEachMode('duplicates', ({ open }) => {
  const over = async (first: string, second: string, options: ModeOptions = {}) => {
    await using server = await serveInTurn(resets(first), stays(`${second}data: end\n\n`))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'end',
      ...options,
    })
    const repeated: (string | undefined)[] = []
    source.on('duplicate', ({ event }) => repeated.push(event.data))
    const data = await dataOf(source)
    expect(data.pop()).to.equal('end')
    expect(source.stats.duplicates).to.equal(repeated.length)
    return { data, repeated }
  }

  it('of a full replay are dropped', async () => {
    const all = wire(1) + wire(2) + wire(3)
    expect(await over(all, all + wire(4))).to.deep.equal({
      data: ['event 1', 'event 2', 'event 3', 'event 4'],
      repeated: ['event 1', 'event 2', 'event 3'],
    })
  })

  it('of a partial overlap are dropped', async () => {
    const { data } = await over(wire(1) + wire(2) + wire(3), wire(3) + wire(4))
    expect(data).to.deep.equal(['event 1', 'event 2', 'event 3', 'event 4'])
  })

  it('are not detected in several events with one id', async () => {
    const several = `${wire(1, 'a') + wire(1, 'b')}id: 1\nevent: other\ndata: a\n\n`
    expect(await over(several, several + wire(1, 'c'))).to.deep.equal({
      data: ['a', 'b', 'a', 'c'],
      repeated: ['a', 'b', 'a'],
    })
  })

  it('are not detected when a restarted upstream counts from 1 again with new data', async () => {
    const { data } = await over(wire(1, 'a') + wire(2, 'b'), wire(1, 'x') + wire(2, 'y'))
    expect(data).to.deep.equal(['a', 'b', 'x', 'y'])
  })

  it('are not looked for among events without an id', async () => {
    const { data, repeated } = await over('data: a\n\ndata: a\n\n', 'data: a\n\n')
    expect(data).to.deep.equal(['a', 'a', 'a'])
    expect(repeated).to.deep.equal([])
  })

  it("are found by the id alone with identity 'id'", async () => {
    const { data } = await over(wire(1, 'a'), wire(1, 'rendered anew') + wire(2), {
      tracker: new EventTracker({ identity: 'id' }),
    })
    expect(data).to.deep.equal(['a', 'event 2'])
  })

  it('are found among the latest events only, as many as windowSize says', async () => {
    const again = wire(2) + wire(1) + wire(3)
    expect(await over(wire(1) + wire(2), again)).to.deep.include({ repeated: ['event 2', 'event 1'] })
    expect(await over(wire(1) + wire(2), again, { windowSize: 1 })).to.deep.equal({
      data: ['event 1', 'event 2', 'event 1', 'event 3'],
      repeated: ['event 2'],
    })
  })

  it('are not looked for within the first connection', async () => {
    const { data } = await over(wire(1) + wire(1), wire(2))
    expect(data).to.deep.equal(['event 1', 'event 1', 'event 2'])
  })

  it('are passed on without dedupe', async () => {
    await using server = await serveInTurn(resets(wire(1)), stays(wire(1) + wire(2, 'end')))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      dedupe: false,
      last: 'end',
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 1', 'end'])
    expect(source.stats).to.include({ events: 3, duplicates: 0 })
  })
})

inEachMode(
  'a terminal event',
  ({ open }) => {
    it('ends the stream as a repeat too, and is not passed on again', async () => {
      const options = { reconnect: fast, tracker: new EventTracker(), isTerminal: lastIs('end') }
      await using server = await serve(ends(wire(1, 'end')))
      expect(await dataOf(open(httpUpstream(server.url), options))).to.deep.equal(['end'])
      expect(await dataOf(open(httpUpstream(server.url), options))).to.deep.equal([])
    })
  },
  readingModes,
)
