import { expect } from 'chai'
import { httpUpstream } from '../../src/index.ts'
import { drain, fast, lastIs, next, wire } from '../support/events.ts'
import { dataOf, inEachMode, outcomeOf, readingModes } from '../support/modes.ts'
import { answers, ends, resets, serve, serveInTurn, stays } from '../support/server.ts'

inEachMode('resume', ({ open }) => {
  it("'always' goes on without a cursor, and reports a gap", async () => {
    await using server = await serveInTurn(ends('data: a\n\n'), ends('data: b\n\n'))
    const source = open(httpUpstream(server.url), { reconnect: fast, last: 'b' })
    let gaps = 0
    source.on('gap', () => gaps++)
    expect(await dataOf(source)).to.deep.equal(['a', 'b'])
    expect(gaps).to.equal(1)
    expect(source.stats.gaps).to.equal(1)
  })

  it("'always' reports no gap while it can say where to resume, or nothing was passed on", async () => {
    await using server = await serveInTurn(ends(), ends(wire(1)), ends(wire(2)))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'event 2',
    })
    await dataOf(source)
    expect(source.stats.gaps).to.equal(0)
  })

  for (const id of ['a\u0001', ' a', 'a ', '\ta', 'a\t', ' ']) {
    it(`'always' reports a gap when the id ${JSON.stringify(id)} cannot be sent as a header`, async () => {
      await using server = await serveInTurn(ends(`id: ${id}\ndata: a\n\n`), ends('data: b\n\n'))
      const source = open(httpUpstream(server.url), { reconnect: fast, last: 'b' })
      const gap = next(source, 'gap')
      expect(await dataOf(source)).to.deep.equal(['a', 'b'])
      expect(await gap).to.include({ cursor: id })
      expect(server.requests[1]?.headers).to.not.have.property('last-event-id')
    })
  }

  it("'always' reports a gap at the first open when the id that it starts from cannot be sent", async () => {
    await using server = await serve(stays('data: a\n\n'))
    const source = open(httpUpstream(server.url), { lastEventId: 'a\u0001', last: 'a' })
    const gap = next(source, 'gap')
    expect(await dataOf(source)).to.deep.equal(['a'])
    expect(await gap).to.include({ cursor: 'a\u0001' })
    expect(source.stats).to.include({ opens: 1, gaps: 1 })
  })

  for (const [endWithoutTerminal, script, code] of [
    ['end', ends('data: a\n\n'), undefined],
    ['end', resets('data: a\n\n'), 'ERR_SSE_NOT_RESUMABLE'],
    ['drop', ends('data: a\n\n'), 'ERR_SSE_NOT_RESUMABLE'],
  ] as const) {
    it(`'with-cursor' without a cursor: an end without the terminal event is ${code ?? 'an end'} with '${endWithoutTerminal}'`, async () => {
      await using server = await serve(script)
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        resume: 'with-cursor',
        isTerminal: lastIs('z'),
        endWithoutTerminal,
      })
      const { chunks, error } = await drain(source)
      expect(chunks).to.have.length(1)
      if (code === undefined) expect(error).to.equal(undefined)
      else expect(error).to.have.property('code', code)
      expect(server.requests).to.have.length(1)
    })
  }

  it("'with-cursor' ends at a clean end before the first event, without a cursor", async () => {
    await using server = await serveInTurn(ends(': c\n\n'), ends(wire(1)))
    const { data, error } = await outcomeOf(
      open(httpUpstream(server.url), { reconnect: fast, resume: 'with-cursor' }),
    )
    expect([data, error]).to.deep.equal([[], undefined])
    expect(server.requests).to.have.length(1)
  })

  it("'with-cursor' goes on with a cursor", async () => {
    await using server = await serveInTurn(resets(wire(1)), ends(wire(2)))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      resume: 'with-cursor',
      last: 'event 2',
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
  })

  for (const resume of ['with-cursor', 'before-first-event'] as const) {
    it(`'${resume}' retries as long as nothing was passed on`, async () => {
      await using server = await serveInTurn(answers(503), resets(': hello\n\n'), stays('data: a\n\n'))
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        resume,
        last: 'a',
      })
      expect(await dataOf(source)).to.deep.equal(['a'])
      expect(server.requests).to.have.length(3)
    })

    it(`'${resume}' does not count a block with an id alone as an event`, async () => {
      await using server = await serveInTurn(resets('id: 1\n\n'), stays('data: a\n\n'))
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        resume,
        last: 'a',
      })
      expect(await dataOf(source)).to.deep.equal([undefined, 'a'])
    })

    it(`'${resume}' fails at a reset after an event without an id, once it has been read`, async () => {
      await using server = await serve(resets('data: a\n\n'))
      const { data, error } = await outcomeOf(
        open(httpUpstream(server.url), { reconnect: fast, resume, last: 'z' }),
      )
      expect(data).to.have.length(1)
      expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
      expect(error).to.have.property('cause').that.includes({ code: 'ERR_SSE_DROPPED' })
      expect(server.requests).to.have.length(1)
    })

    it(`'${resume}' ends at a clean end, because no terminal event is expected`, async () => {
      await using server = await serve(ends('data: a\n\n'))
      const source = open(httpUpstream(server.url), { reconnect: fast, resume })
      expect(await dataOf(source)).to.deep.equal(['a'])
      expect(server.requests).to.have.length(1)
    })
  }

  it("'before-first-event' fails after an event even with a cursor", async () => {
    await using server = await serve(resets(wire(1)))
    const { error } = await outcomeOf(
      open(httpUpstream(server.url), { reconnect: fast, resume: 'before-first-event' }),
    )
    expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
  })
})

inEachMode(
  'an end without the terminal event',
  ({ open }) => {
    it('is a drop, and the stream goes on', async () => {
      await using server = await serveInTurn(ends(wire(1)), ends(wire(2, '[DONE]')))
      const source = open(httpUpstream(server.url), { reconnect: fast, isTerminal: lastIs('[DONE]') })
      expect(await dataOf(source)).to.deep.equal(['event 1', '[DONE]'])
      expect(source.stats.drops.end).to.equal(1)
    })

    for (const resume of ['with-cursor', 'before-first-event'] as const) {
      it(`is a failure with '${resume}'`, async () => {
        await using server = await serve(ends('data: a\n\n'))
        const { data, error } = await outcomeOf(
          open(httpUpstream(server.url), { reconnect: fast, resume, isTerminal: lastIs('[DONE]') }),
        )
        expect(data).to.deep.equal(['a'])
        expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
      })
    }
  },
  readingModes,
)
