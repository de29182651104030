import { expect } from 'chai'
import {
  createResilientSseSource,
  httpUpstream,
  type RetryMessage,
  type SourceOptions,
} from '../../src/index.ts'
import { dataOf, drain, fast, lastIs, next, wire } from '../support/events.ts'
import { answers, ends, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'

const objects = { objectMode: true, reconnect: fast } as const

describe('what happens on an open connection', () => {
  it('reconnects at once after a clean end with progress that came later than base after the open', async () => {
    const base = 20
    let end = () => {}
    await using server = await serveInTurn(
      (_, response) => {
        stream(response, wire(1))
        end = () => response.end()
      },
      ends(wire(2)),
    )
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: { baseDelay: base, jitter: 0 },
      isTerminal: lastIs('event 2'),
    })
    source.once('open', () => setTimeout(end, base + 5))
    const retry = next(source, 'retry')
    await dataOf(source)
    expect(await retry).to.include({ delay: 0, source: 'clean-end', attempt: 0 })
  })

  it('does not open two connections closer together than base when each brings one event and ends', async () => {
    const base = 40
    const apart: number[] = []
    let id = 0
    await using server = await serve((_, response) => {
      id++
      stream(response, wire(id)).end()
    })
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: { baseDelay: base, jitter: 0.5 },
      isTerminal: lastIs('event 5'),
    })
    let openedAt = 0
    source.on('open', () => {
      openedAt = performance.now()
    })
    source.on('retry', ({ delay }) => apart.push(performance.now() - openedAt + delay))
    await dataOf(source)
    expect(apart).to.have.length(4)
    // The source knows of its open a moment before its listeners do.
    for (const time of apart) expect(time).to.be.at.least(base - 2)
  })

  it('backs off, ever longer, after clean ends without progress, and then fails', async () => {
    await using server = await serve(ends(': hello\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: { baseDelay: 2, maxDelay: 10, jitter: 0, maxRetries: 5 },
    })
    const retries: RetryMessage[] = []
    source.on('retry', (retry) => retries.push(retry))
    const { error } = await drain(source)
    expect(retries.map(({ delay }) => delay)).to.deep.equal([2, 4, 8, 10, 10])
    expect(retries.map(({ attempt }) => attempt)).to.deep.equal([1, 2, 3, 4, 5])
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(error).to.have.property('cause').that.includes({ code: 'ERR_SSE_DROPPED' })
    expect(error).to.have.property('message').that.includes('gave up after 5 retries without progress')
    expect(server.requests).to.have.length(1 + 5)
  })

  it('retries an upstream that accepts and closes for ever maxRetries times after the last progress', async () => {
    await using server = await serveInTurn(ends(wire(1)), resets())
    const { error, chunks } = await drain(
      createResilientSseSource(httpUpstream(server.url), {
        objectMode: true,
        reconnect: { ...fast, maxRetries: 4 },
      }),
    )
    expect(chunks).to.have.length(1)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.length(1 + 4)
  })

  it('makes one attempt and no retry with maxRetries 0, and fails at the first drop', async () => {
    await using server = await serve(ends(wire(1)))
    const never: SourceOptions & { objectMode: true } = {
      objectMode: true,
      reconnect: { ...fast, maxRetries: 0 },
    }
    const { chunks, error } = await drain(createResilientSseSource(httpUpstream(server.url), never))
    expect(chunks).to.have.length(1)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.length(1)
  })

  it('starts the count anew on a fresh event', async () => {
    let id = 0
    await using server = await serve((request, response) => {
      if (server.requests.length % 3 === 0) ends(wire(++id))(request, response)
      else answers(503)(request, response)
    })
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: { ...fast, maxRetries: 3 },
      isTerminal: lastIs('event 5'),
    })
    const attempts: number[] = []
    source.on('retry', ({ attempt }) => attempts.push(attempt))
    expect(await dataOf(source)).to.have.length(5)
    expect(attempts).to.deep.equal([1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
  })

  it('does not count a repeated event as progress', async () => {
    await using server = await serve(ends(wire(1)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: { ...fast, maxRetries: 3 },
    })
    const { chunks, error } = await drain(source)
    expect(chunks).to.have.length(1)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(source.stats).to.include({ duplicates: 3, events: 1 })
  })

  it('counts a connection that lived stableAfter as progress', async () => {
    let destroy = () => {}
    await using server = await serve((_, response) => {
      stream(response)
      destroy = () => response.destroy()
      if (server.requests.length === 5) response.write(wire(1))
    })
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: { ...fast, maxRetries: 1, stableAfter: 20 },
      isTerminal: lastIs('event 1'),
    })
    const drops: boolean[] = []
    source.on('open', () => setTimeout(() => destroy(), 30))
    source.on('drop', ({ progress }) => drops.push(progress))
    expect(await dataOf(source)).to.have.length(1)
    expect(drops).to.deep.equal([true, true, true, true])
  })

  it('reports one drop and one retry for a reset, whatever fires for it', async () => {
    await using server = await serveInTurn(resets(wire(1)), stays(wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('event 2'),
    })
    const seen: string[] = []
    source.on('drop', ({ reason }) => seen.push(reason))
    source.on('retry', ({ source: set }) => seen.push(set))
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(seen).to.deep.equal(['reset', 'backoff'])
    expect(source.stats.drops).to.deep.equal({ end: 0, reset: 1, 'idle-timeout': 0 })
    expect(server.requests).to.have.length(2)
  })

  it('takes a body that is shorter than it said for a drop', async () => {
    const short = (_: unknown, response: import('node:http').ServerResponse) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': 1000 })
      response.write(wire(1), () => response.socket?.end())
    }
    await using server = await serveInTurn(short, stays(wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('event 2'),
    })
    const drop = next(source, 'drop')
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(await drop).to.include({ reason: 'reset' })
  })

  it('drops a silent connection after idleTimeout and closes its socket', async () => {
    await using server = await serveInTurn(stays(wire(1)), stays(wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      idleTimeout: 30,
      isTerminal: lastIs('event 2'),
    })
    const drop = next(source, 'drop')
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    const { reason, error } = await drop
    expect(reason).to.equal('idle-timeout')
    expect(error).to.include({ code: 'ERR_SSE_IDLE_TIMEOUT' })
    expect(server.requests[0]?.socket.destroyed).to.equal(true)
  })

  it("hears comments as a sign of life with idleResetOn 'bytes', and not with 'events'", async () => {
    const comments = (_: unknown, response: import('node:http').ServerResponse) => {
      stream(response, wire(1))
      const timer = setInterval(() => response.write(':\n\n'), 10)
      response.on('close', () => clearInterval(timer))
    }
    await using server = await serveInTurn(comments, stays(wire(2)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      idleTimeout: 60,
      idleResetOn: 'events',
      isTerminal: lastIs('event 2'),
    })
    let heard = 0
    source.on('comment', () => heard++)
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(heard).to.be.above(0)

    await using patient = await serve(comments)
    const listening = createResilientSseSource(httpUpstream(patient.url), { ...objects, idleTimeout: 60 })
    let comment = 0
    // Twelve comments, 10 ms apart, span two idle times.
    await new Promise<void>((resolve) => {
      listening.on('comment', () => ++comment === 12 && resolve())
      listening.resume()
    })
    listening.destroy()
    expect(listening.stats.drops['idle-timeout']).to.equal(0)
  })

  it('passes on an event that isTerminal accepts, and ends, without the rest of the chunk', async () => {
    await using server = await serve(stays(wire(1) + wire(2, '[DONE]') + wire(3)))
    const source = createResilientSseSource(httpUpstream(server.url), {
      ...objects,
      isTerminal: lastIs('[DONE]'),
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', '[DONE]'])
    expect(source.lastEventId).to.equal('2')
  })

  for (const [how, drop] of [
    ['a clean end', ends(wire(1), 'id: 2\ndata: never')],
    ['a clean end behind a whole line', ends(wire(1), 'id: 2\ndata: never\n')],
    ['a reset', resets(wire(1), 'id: 2\ndata: never\n')],
  ] as const) {
    it(`forgets a half-received event at ${how}, and resumes in front of it`, async () => {
      await using server = await serveInTurn(drop, ends(wire(2)))
      const source = createResilientSseSource(httpUpstream(server.url), {
        ...objects,
        isTerminal: lastIs('event 2'),
      })
      expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
      expect(server.requests[1]?.headers['last-event-id']).to.equal('1')
    })
  }

  it('fails at an event over maxEventSize, once those in front of it have been read', async () => {
    await using server = await serve(stays(wire(1) + wire(2), `id: 3\ndata: ${'x'.repeat(2000)}`))
    const { chunks, error } = await drain(
      createResilientSseSource(httpUpstream(server.url), { ...objects, maxEventSize: 1000 }),
    )
    expect(chunks).to.have.length(2)
    expect(error).to.include({ code: 'ERR_SSE_EVENT_TOO_LARGE' })
    expect(server.requests).to.have.length(1)
  })
})
