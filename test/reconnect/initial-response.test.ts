import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { expect } from 'chai'
import { httpUpstream } from '../../src/index.ts'
import { fast, next, wire } from '../support/events.ts'
import { dataOf, inEachMode, outcomeOf } from '../support/modes.ts'
import { answers, ends, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

inEachMode('initialResponse', ({ open }) => {
  it('is adopted; the factory is called from the first drop on', async () => {
    await using server = await serveInTurn(resets(wire(1)), ends(wire(2)))
    const initialResponse = await fetch(server.url)
    let calls = 0
    const dial = httpUpstream(server.url)
    const source = open(
      (context) => {
        calls++
        expect(context).to.include({ attempt: 0, lastEventId: '1' })
        return dial(context)
      },
      { reconnect: fast, initialResponse, last: 'event 2' },
    )
    const opened: number[] = []
    source.on('open', ({ attempt }) => opened.push(attempt))
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(opened).to.deep.equal([-1, 0])
    expect(calls).to.equal(1)
    expect(source.stats).to.include({ attempts: 1, opens: 2 })
  })

  it('is adopted mid-stream, after other code has read from it', async () => {
    await using server = await serveInTurn((_, response) => {
      stream(response, wire(1))
      response.write(wire(2))
      setTimeout(() => response.write(wire(3)), 10)
    })
    const { request } = await import('node:http')
    const [initialResponse] = await once(request(server.url).end(), 'response')
    const adopt = () =>
      open(httpUpstream(server.url), {
        initialResponse,
        last: 'event 3',
      })
    // Somebody has had a look, and left the stream flowing.
    const source = await new Promise<ReturnType<typeof adopt>>((resolve) => {
      initialResponse.once('data', (first: Buffer) => {
        initialResponse.unshift(first)
        resolve(adopt())
      })
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2', 'event 3'])
  })

  it('is closed when the source is destroyed before it was read', async () => {
    await using server = await serve(stays(wire(1)))
    const source = open(httpUpstream(server.url), {
      initialResponse: await fetch(server.url),
    })
    source.destroy()
    await until(
      () => server.requests[0]?.socket.destroyed === true,
      () => 'the socket closes',
    )
  })

  it('may fail before the source is read', async () => {
    await using server = await serveInTurn(resets(wire(1)), ends(wire(1)))
    const { request } = await import('node:http')
    // A reset is also an error of the request, whoever has the response.
    const [initialResponse] = await once(
      request(server.url)
        .on('error', () => {})
        .end(),
      'response',
    )
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      initialResponse,
      last: 'event 1',
    })
    await until(
      () => initialResponse.destroyed,
      () => 'the response is reset',
    )
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    expect(server.requests).to.have.length(2)
  })

  it('may fail with an error before the source is read', async () => {
    const initialResponse = new PassThrough()
    const source = open(() => Readable.from([wire(1)]), { reconnect: fast, initialResponse, last: 'event 1' })
    // Without a listener the error would be thrown in this process.
    initialResponse.destroy(new Error('gone'))
    await until(
      () => initialResponse.closed,
      () => 'it fails',
    )
    const drop = next(source, 'drop')
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    expect(await drop).to.include({ reason: 'reset' })
  })

  it('is refused when it is not an upstream, or is locked', async () => {
    await using server = await serve(ends(wire(1)))
    const dial = httpUpstream(server.url)
    // @ts-expect-error what a caller without types may give
    const wrong = () => open(dial, { initialResponse: {} })
    expect(wrong).to.throw(TypeError, 'initialResponse must be')
    const locked = await fetch(server.url)
    await locked.text()
    expect(() => open(dial, { initialResponse: locked })).to.throw(
      TypeError,
      'initialResponse must be a body without another reader',
    )
  })

  it('that has an error status is followed by an attempt, or fails the stream, as after an attempt', async () => {
    await using server = await serveInTurn(answers(503), ends(wire(1)), answers(404))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      initialResponse: await fetch(server.url),
      last: 'event 1',
    })
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    const initialResponse = await fetch(server.url)
    const { error } = await outcomeOf(open(httpUpstream(server.url), { initialResponse }))
    expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 404 })
    expect(server.requests).to.have.length(3)
  })

  for (const [spoil, first] of [
    ['is over already', ends(wire(1))],
    ['is destroyed', stays()],
  ] as const) {
    it(`that ${spoil} is a drop`, async () => {
      await using server = await serveInTurn(first, ends(wire(1)))
      const { request } = await import('node:http')
      const [initialResponse] = await once(request(server.url).end(), 'response')
      if (spoil === 'is destroyed') initialResponse.destroy()
      else await once(initialResponse.resume(), 'end')
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        initialResponse,
        last: 'event 1',
      })
      expect(await dataOf(source)).to.deep.equal(['event 1'])
      expect(server.requests).to.have.length(2)
    })
  }
})
