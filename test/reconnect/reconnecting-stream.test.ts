import { PassThrough, Readable } from 'node:stream'
import { expect } from 'chai'
import { httpUpstream, type RetryMessage, type SseEvent, type UpstreamFactory } from '../../src/index.ts'
import { fast, lastIs, next, wire } from '../support/events.ts'
import { dataOf, inEachMode, type ModeOptions, outcomeOf, readingModes } from '../support/modes.ts'
import { answers, ends, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { type HeldTime, holdTime } from '../support/time.ts'

inEachMode('what happens on an open connection', ({ open }) => {
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
    const source = open(httpUpstream(server.url), {
      reconnect: { baseDelay: base, jitter: 0 },
      last: 'event 2',
    })
    source.once('open', () => setTimeout(end, base + 5))
    const retry = next(source, 'retry')
    await dataOf(source)
    expect(await retry).to.include({ delay: 0, source: 'clean-end', attempt: 0 })
  })

  it('backs off when the attempt after a clean end with progress fails', async () => {
    await using server = await serveInTurn(ends(wire(1)), answers(503), stays(wire(2)))
    const source = open(httpUpstream(server.url), { reconnect: fast, last: 'event 2' })
    const set: string[] = []
    source.on('retry', (retry) => set.push(retry.source))
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(set).to.deep.equal(['clean-end', 'backoff'])
  })

  it('does not open two connections closer together than base when each brings one event and ends', async () => {
    const base = 40
    const apart: number[] = []
    let id = 0
    // Before the source opens, however slow the machine is. Its listeners know of an open later than the source does.
    let answeredAt = 0
    await using server = await serve((_, response) => {
      answeredAt = performance.now()
      stream(response, wire(++id))
      if (id < 5) response.end()
    })
    const source = open(httpUpstream(server.url), {
      reconnect: { baseDelay: base, jitter: 0.5 },
      last: 'event 5',
    })
    source.on('retry', ({ delay }) => apart.push(performance.now() - answeredAt + delay))
    await dataOf(source)
    expect(apart).to.have.length(4)
    for (const time of apart) expect(time).to.be.at.least(base)
  })

  it('backs off, ever longer, after clean ends without progress, and then fails', async () => {
    await using server = await serve(ends(': hello\n\n'))
    const source = open(httpUpstream(server.url), {
      reconnect: { baseDelay: 2, maxDelay: 10, jitter: 0, maxRetries: 5 },
    })
    const retries: RetryMessage[] = []
    source.on('retry', (retry) => retries.push(retry))
    const { error } = await outcomeOf(source)
    expect(retries.map(({ delay }) => delay)).to.deep.equal([2, 4, 8, 10, 10])
    expect(retries.map(({ attempt }) => attempt)).to.deep.equal([1, 2, 3, 4, 5])
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(error).to.have.property('cause').that.includes({ code: 'ERR_SSE_DROPPED' })
    expect(error).to.have.property('message').that.includes('gave up after 5 retries without progress')
    expect(server.requests).to.have.length(1 + 5)
  })

  it('retries an upstream that accepts and closes for ever maxRetries times after the last progress', async () => {
    await using server = await serveInTurn(ends(wire(1)), resets())
    const { data, error } = await outcomeOf(
      open(httpUpstream(server.url), {
        reconnect: { ...fast, maxRetries: 4 },
      }),
    )
    expect(data).to.have.length(1)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.length(1 + 4)
  })

  for (const [maxRetries, count] of [
    [0, '0 retries'],
    [1, '1 retry'],
    [2, '2 retries'],
  ] as const) {
    it(`says that it gave up after ${count}`, async () => {
      const factory = () => new Response(null, { status: 503 })
      const { error } = await outcomeOf(open(factory, { reconnect: { ...fast, maxRetries } }))
      const message = `gave up after ${count} without progress: the upstream answered 503`
      expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED', message })
    })
  }

  it('makes one attempt and no retry with maxRetries 0, and fails at the first drop', async () => {
    await using server = await serve(ends(wire(1)))
    const { data, error } = await outcomeOf(
      open(httpUpstream(server.url), { reconnect: { ...fast, maxRetries: 0 } }),
    )
    expect(data).to.have.length(1)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.length(1)
  })

  it('starts the count anew on a fresh event', async () => {
    let id = 0
    await using server = await serve((request, response) => {
      if (server.requests.length % 3 !== 0) answers(503)(request, response)
      else if (++id < 5) ends(wire(id))(request, response)
      else stays(wire(id))(request, response)
    })
    const source = open(httpUpstream(server.url), {
      reconnect: { ...fast, maxRetries: 3 },
      last: 'event 5',
    })
    const attempts: number[] = []
    source.on('retry', ({ attempt }) => attempts.push(attempt))
    expect(await dataOf(source)).to.have.length(5)
    expect(attempts).to.deep.equal([1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
  })

  it('starts the growth of the delay anew on a fresh event', async () => {
    await using server = await serveInTurn(
      answers(503),
      answers(503),
      resets(wire(1)),
      answers(503),
      resets(wire(2)),
      stays(wire(3)),
    )
    const source = open(httpUpstream(server.url), { reconnect: fast, last: 'event 3' })
    const delays: number[] = []
    source.on('retry', ({ delay }) => delays.push(delay))
    expect(await dataOf(source)).to.have.length(3)
    expect(delays).to.deep.equal([1, 2, 1, 2, 1])
  })

  it('does not count a repeated event as progress', async () => {
    await using server = await serve(ends(wire(1)))
    const source = open(httpUpstream(server.url), {
      reconnect: { ...fast, maxRetries: 3 },
    })
    const { data, error } = await outcomeOf(source)
    expect(data).to.have.length(1)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(source.stats).to.include({ duplicates: 3, events: 1 })
  })

  for (const [lived, progress] of [
    [29, false],
    [30, true],
  ] as const) {
    it(`${progress ? 'counts' : 'does not count'} a connection that lived ${lived} ms as progress with stableAfter 30`, async () => {
      using time = holdTime()
      const body = new PassThrough()
      const source = open(() => body, { reconnect: { baseDelay: 60_000, stableAfter: 30 } })
      source.resume()
      const drop = next(source, 'drop')
      await time.pass(0)
      await time.pass(lived)
      body.destroy()
      expect(await drop).to.include({ duration: lived, progress })
      source.destroy()
    })
  }

  it('starts the count anew after a connection that lived stableAfter', async () => {
    const bodies = [Readable.from([]), Readable.from([]), Readable.from([])]
    const source = open(() => bodies.shift() ?? Readable.from([wire(1)]), {
      reconnect: { ...fast, maxRetries: 1, stableAfter: 0 },
      last: 'event 1',
    })
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    expect(source.stats.attempts).to.equal(4)
  })

  it('reports one drop and one retry for a reset, whatever events the body emits', async () => {
    await using server = await serveInTurn(resets(wire(1)), stays(wire(2)))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'event 2',
    })
    const seen: string[] = []
    source.on('drop', ({ reason }) => seen.push(reason))
    source.on('retry', ({ source: set }) => seen.push(set))
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(seen).to.deep.equal(['reset', 'backoff'])
    expect(source.stats.drops).to.deep.equal({ end: 0, reset: 1, 'idle-timeout': 0 })
    expect(server.requests).to.have.length(2)
  })

  for (const [how, script, aborted] of [
    ['a clean end', ends(wire(1)), false],
    ['a reset', resets(wire(1)), true],
  ] as const) {
    it(`${aborted ? 'aborts' : 'leaves'} the signal of an attempt after ${how}, also when it is destroyed then`, async () => {
      await using server = await serve(script)
      const dial = httpUpstream(server.url)
      const signals: AbortSignal[] = []
      const factory: UpstreamFactory = (context) => {
        signals.push(context.signal)
        return dial(context)
      }
      const source = open(factory, { reconnect: { baseDelay: 60_000 } })
      source.resume()
      await next(source, 'retry')
      source.destroy()
      // The socket may serve another request by now.
      expect(signals.map((signal) => signal.aborted)).to.deep.equal([aborted])
    })
  }

  it('reports a drop for a body that is shorter than its content-length', async () => {
    const short = (_: unknown, response: import('node:http').ServerResponse) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': 1000 })
      response.write(wire(1), () => response.socket?.end())
    }
    await using server = await serveInTurn(short, stays(wire(2)))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'event 2',
    })
    const drop = next(source, 'drop')
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(await drop).to.include({ reason: 'reset' })
  })

  it('drops a silent connection after idleTimeout and closes its socket', async () => {
    await using server = await serveInTurn(stays(wire(1)), stays(wire(2)))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      idleTimeout: 30,
      last: 'event 2',
    })
    const drop = next(source, 'drop')
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    const { reason, error } = await drop
    expect(reason).to.equal('idle-timeout')
    expect(error).to.include({ code: 'ERR_SSE_IDLE_TIMEOUT' })
    expect(server.requests[0]?.socket.destroyed).to.equal(true)
  })

  for (const [how, drop] of [
    ['a clean end', ends(wire(1), 'id: 2\ndata: never')],
    ['a clean end behind a whole line', ends(wire(1), 'id: 2\ndata: never\n')],
    ['a reset', resets(wire(1), 'id: 2\ndata: never\n')],
  ] as const) {
    it(`forgets a half-received event at ${how}, and resumes before it`, async () => {
      await using server = await serveInTurn(drop, ends(wire(2)))
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        last: 'event 2',
      })
      expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
      expect(server.requests[1]?.headers['last-event-id']).to.equal('1')
    })
  }

  it('fails at an event over maxEventSize, after the events before it were read', async () => {
    await using server = await serve(stays(wire(1) + wire(2), `id: 3\ndata: ${'x'.repeat(2000)}`))
    const { data, error } = await outcomeOf(
      open(httpUpstream(server.url), { reconnect: fast, maxEventSize: 1000 }),
    )
    expect(data).to.have.length(2)
    expect(error).to.include({ code: 'ERR_SSE_EVENT_TOO_LARGE' })
    expect(server.requests).to.have.length(1)
  })
})

inEachMode('idleTimeout', ({ open }) => {
  /** A source whose upstream says what the test writes, and the time that it may be silent. */
  async function opened(options: ModeOptions, time: HeldTime) {
    const body = new PassThrough()
    const source = open(() => body, { ...options, idleTimeout: 100, reconnect: { baseDelay: 60_000 } })
    source.resume()
    await time.pass(0)
    return { body, source }
  }

  for (const bytes of [':\n\n', 'data: a\n\n', 'data: ']) {
    it(`is reset by ${JSON.stringify(bytes)}, as by every byte`, async () => {
      using time = holdTime()
      const { body, source } = await opened({}, time)
      for (let written = 0; written < 3; written++) {
        body.write(bytes)
        await time.pass(60)
      }
      expect(source.stats.drops['idle-timeout']).to.equal(0)
      await time.pass(40)
      expect(source.stats.drops['idle-timeout']).to.equal(1)
      source.destroy()
    })
  }

  it("is reset only by events with idleResetOn 'events'", async () => {
    using time = holdTime()
    const { body, source } = await opened({ idleResetOn: 'events' }, time)
    for (let id = 0; id < 3; id++) {
      body.write(wire(id))
      await time.pass(60)
    }
    expect(source.stats.drops['idle-timeout']).to.equal(0)
    body.write(':\n\nid: 7\n\n')
    await time.pass(40)
    expect(source.stats.drops['idle-timeout']).to.equal(1)
    source.destroy()
  })
})

inEachMode('a full reader', ({ open }) => {
  it('delays the next attempt until there is room again', async () => {
    using time = holdTime()
    const bodies = [wire(1), wire(2)].map((text) => Readable.from([text]))
    const reconnect = { ...fast, baseDelay: 50, maxDelay: 50 }
    const source = open(() => bodies.shift() ?? new PassThrough(), { highWaterMark: 1, reconnect })
    source.once('readable', () => {})
    await time.pass(0)
    await time.pass(1000)
    expect(source.stats.attempts).to.equal(1)
    expect(source.read()).to.not.equal(null)
    await time.pass(0)
    expect(source.stats.attempts).to.equal(2)
    source.destroy()
  })

  it('does not shorten the delay when it gets room before the end of the delay', async () => {
    using time = holdTime()
    const bodies = [Readable.from([wire(1)])]
    const reconnect = { ...fast, baseDelay: 50, maxDelay: 50 }
    const source = open(() => bodies.shift() ?? new PassThrough(), { highWaterMark: 1, reconnect })
    source.once('readable', () => {})
    await time.pass(0)
    expect(source.read()).to.not.equal(null)
    await time.pass(40)
    expect(source.stats.attempts).to.equal(1)
    await time.pass(10)
    expect(source.stats.attempts).to.equal(2)
    source.destroy()
  })
})

inEachMode(
  'isTerminal',
  ({ open }) => {
    it('passes an event that it accepts on, and ends the stream without the rest of the chunk', async () => {
      await using server = await serve(stays(wire(1) + wire(2, '[DONE]') + wire(3)))
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        isTerminal: lastIs('[DONE]'),
      })
      expect(await dataOf(source)).to.deep.equal(['event 1', '[DONE]'])
      expect(source.lastEventId).to.equal('2')
    })

    it('is called for events only, not for a block with an id alone', async () => {
      await using server = await serve(stays('id: 1\n\n: c\n\ndata: a\n\nid: 2\ndata: end\n\n'))
      const asked: (string | undefined)[] = []
      const isTerminal = ({ data }: SseEvent) => {
        asked.push(data)
        return data === 'end'
      }
      expect(await dataOf(open(httpUpstream(server.url), { isTerminal }))).to.deep.equal([
        undefined,
        'a',
        'end',
      ])
      expect(asked).to.deep.equal(['a', 'end'])
    })
  },
  readingModes,
)
