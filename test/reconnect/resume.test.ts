import { expect } from 'chai'
import { createResilientSseSource, httpUpstream } from '../../src/index.ts'
import { dataOf, drain, fast, lastIs, next, wire } from '../support/events.ts'
import { answers, ends, resets, serve, serveInTurn, stays } from '../support/server.ts'

describe('resume', () => {
  const modes = { objectMode: true, reconnect: fast } as const

  it("'always' goes on without a cursor, and reports a gap", async () => {
    await using server = await serveInTurn(ends('data: a\n\n'), ends('data: b\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), { ...modes, isTerminal: lastIs('b') })
    let gaps = 0
    source.on('gap', () => gaps++)
    expect(await dataOf(source)).to.deep.equal(['a', 'b'])
    expect(gaps).to.equal(1)
    expect(source.stats.gaps).to.equal(1)
  })

  it("'always' reports no gap while it can say where to resume, or nothing was passed on", async () => {
    await using server = await serveInTurn(ends(), ends(wire(1)), ends(wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...modes,
      isTerminal: lastIs('event 2'),
    })
    await dataOf(source)
    expect(source.stats.gaps).to.equal(0)
  })

  for (const id of ['a\u0001', ' a', 'a ', '\ta', 'a\t', ' ']) {
    it(`'always' reports a gap when the id ${JSON.stringify(id)} cannot be sent as a header`, async () => {
      await using server = await serveInTurn(ends(`id: ${id}\ndata: a\n\n`), ends('data: b\n\n'))
      const source = createResilientSseSource(httpUpstream(server.url), { ...modes, isTerminal: lastIs('b') })
      const gap = next(source, 'gap')
      expect(await dataOf(source)).to.deep.equal(['a', 'b'])
      expect(await gap).to.include({ cursor: id })
      expect(server.requests[1]?.headers).to.not.have.property('last-event-id')
    })
  }

  it("'with-cursor' goes on with a cursor", async () => {
    await using server = await serveInTurn(resets(wire(1)), ends(wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...modes,
      resume: 'with-cursor',
      isTerminal: lastIs('event 2'),
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
  })

  for (const resume of ['with-cursor', 'before-first-event'] as const) {
    it(`'${resume}' retries as long as nothing was passed on`, async () => {
      await using server = await serveInTurn(answers(503), resets(': hello\n\n'), stays('data: a\n\n'))
      const source = createResilientSseSource(httpUpstream(server.url), {
        ...modes,
        resume,
        isTerminal: lastIs('a'),
      })
      expect(await dataOf(source)).to.deep.equal(['a'])
      expect(server.requests).to.have.length(3)
    })

    it(`'${resume}' does not take a block with an id alone for an event`, async () => {
      await using server = await serveInTurn(resets('id: 1\n\n'), stays('data: a\n\n'))
      const source = createResilientSseSource(httpUpstream(server.url), {
        ...modes,
        resume,
        isTerminal: lastIs('a'),
      })
      expect(await dataOf(source)).to.deep.equal([undefined, 'a'])
    })

    it(`'${resume}' fails at a reset after an event without an id, once it has been read`, async () => {
      await using server = await serve(resets('data: a\n\n'))
      const { chunks, error } = await drain(
        createResilientSseSource(httpUpstream(server.url), { ...modes, resume, isTerminal: lastIs('z') }),
      )
      expect(chunks).to.have.length(1)
      expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
      expect(error).to.have.property('cause').that.includes({ code: 'ERR_SSE_DROPPED' })
      expect(server.requests).to.have.length(1)
    })

    it(`'${resume}' ends at a clean end, as nothing says that more was to come`, async () => {
      await using server = await serve(ends('data: a\n\n'))
      const source = createResilientSseSource(httpUpstream(server.url), { ...modes, resume })
      expect(await dataOf(source)).to.deep.equal(['a'])
      expect(server.requests).to.have.length(1)
    })

    it(`'${resume}' fails at a clean end without the terminal event`, async () => {
      await using server = await serve(ends('data: a\n\n'))
      const { error } = await drain(
        createResilientSseSource(httpUpstream(server.url), {
          ...modes,
          resume,
          isTerminal: lastIs('[DONE]'),
        }),
      )
      expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
    })
  }

  it("'before-first-event' fails after an event even with a cursor", async () => {
    await using server = await serve(resets(wire(1)))
    const { error } = await drain(
      createResilientSseSource(httpUpstream(server.url), { ...modes, resume: 'before-first-event' }),
    )
    expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
  })

  it('takes an end without the terminal event for a drop, and goes on', async () => {
    await using server = await serveInTurn(ends(wire(1)), ends(wire(2, '[DONE]')))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...modes,
      isTerminal: lastIs('[DONE]'),
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', '[DONE]'])
  })
})
