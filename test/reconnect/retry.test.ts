import { expect } from 'chai'
import { httpUpstream, type SourceOptions, SseError } from '../../src/index.ts'
import { fast, next, wire } from '../support/events.ts'
import { mockUpstream } from '../support/mock.ts'
import { dataOf, inEachMode, outcomeOf } from '../support/modes.ts'
import { answers, ends, resets, serve, serveInTurn } from '../support/server.ts'

inEachMode('delays', ({ open }) => {
  const delayAfter = async (headers: Record<string, string>, reconnect: SourceOptions['reconnect'] = {}) => {
    using upstream = mockUpstream()
    upstream.get('/').reply(503, 'later', headers)
    const source = open(httpUpstream('http://upstream.test/'), {
      reconnect: { baseDelay: 5, jitter: 0, ...reconnect },
    })
    source.resume()
    const retry = await next(source, 'retry')
    source.destroy()
    return retry
  }

  it('honours Retry-After in seconds', async () => {
    expect(await delayAfter({ 'retry-after': '7' })).to.include({ delay: 7000, source: 'retry-after' })
  })

  it('honours Retry-After as an HTTP date', async () => {
    const { delay, source } = await delayAfter({ 'retry-after': new Date(Date.now() + 60_000).toUTCString() })
    expect(delay).to.be.within(55_000, 60_000)
    expect(source).to.equal('retry-after')
  })

  it('honours retry-after-ms, before Retry-After', async () => {
    const headers = { 'retry-after-ms': '1234', 'retry-after': '9' }
    expect(await delayAfter(headers)).to.include({ delay: 1234, source: 'retry-after' })
  })

  it('caps Retry-After at maxRetryAfter', async () => {
    expect(await delayAfter({ 'retry-after': '86400' }, { maxRetryAfter: 2500 })).to.include({ delay: 2500 })
  })

  it('treats Retry-After as a lower bound', async () => {
    expect(await delayAfter({ 'retry-after': '0' })).to.include({ delay: 5, source: 'backoff' })
  })

  it('sets retryAfter of the status error', async () => {
    using upstream = mockUpstream()
    upstream.get('/').reply(404, 'no', { 'retry-after': '3' })
    const { error } = await outcomeOf(open(httpUpstream('http://upstream.test/'), {}))
    expect(error).to.include({ retryAfter: 3000 })
  })

  for (const [field, delay] of [
    ['retry: 50', 50],
    ['retry: 0', 10],
    ['retry: 91', 91],
    ['retry: 4294967296', 500],
    ['retry: 99999999999999999999', 500],
    [`retry: ${'9'.repeat(400)}`, 500],
    ['retry: 5abc', 7],
    ['retry: -5', 7],
    ['retry: 1.5', 7],
    ['retry:', 7],
  ] as const) {
    it(`starts from ${delay} ms after ${field.slice(0, 30)}`, async () => {
      await using server = await serve(ends(`${field}\n\n`))
      const source = open(httpUpstream(server.url), {
        reconnect: { baseDelay: 7, minDelay: 10, maxDelay: 90, maxRetryAfter: 500, jitter: 0 },
      })
      source.resume()
      const retry = await next(source, 'retry')
      source.destroy()
      expect(retry).to.include({ delay, source: delay === 7 ? 'backoff' : 'retry' })
    })
  }

  for (const resume of ['with-cursor', 'before-first-event'] as const) {
    it(`starts from the reconnection time before the first event with resume '${resume}'`, async () => {
      await using server = await serve(resets('retry: 50\n\n'))
      const source = open(httpUpstream(server.url), { reconnect: fast, resume })
      source.resume()
      const retry = await next(source, 'retry')
      source.destroy()
      expect(retry).to.include({ delay: 50, source: 'retry' })
    })
  }

  it('starts from the reconnection time of a block that is cut off after the line', async () => {
    await using server = await serve(ends('data: a\nretry: 50\nid: 1'))
    const source = open(httpUpstream(server.url), { reconnect: fast })
    source.resume()
    const retry = await next(source, 'retry')
    source.destroy()
    expect(retry).to.include({ delay: 50, source: 'retry' })
  })

  it('keeps the reconnection time across connections, and never counts it as progress', async () => {
    await using server = await serveInTurn(ends('retry: 3\n\n'), answers(503))
    const source = open(httpUpstream(server.url), {
      reconnect: { baseDelay: 1, minDelay: 1, maxDelay: 1000, jitter: 0, maxRetries: 4 },
    })
    const delays: number[] = []
    source.on('retry', ({ delay }) => delays.push(delay))
    const { error } = await outcomeOf(source)
    expect(delays).to.deep.equal([3, 6, 12, 24])
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
  })

  it("waits for the upstream's retry: after a clean end as well, and never less", async () => {
    await using server = await serve((request, response) =>
      ends(`retry: 40\n\n${wire(server.requests.length)}`)(request, response),
    )
    const source = open(httpUpstream(server.url), {
      reconnect: { baseDelay: 1, minDelay: 1, maxDelay: 5, jitter: 1 },
      last: 'event 6',
    })
    const retries: { delay: number; source: string }[] = []
    source.on('retry', (retry) => retries.push(retry))
    await dataOf(source)
    // A reader that stops by itself after the sixth event may do so after the next retry was announced.
    expect(retries.length).to.be.within(5, source.stopsAt === undefined ? 5 : 6)
    for (const { delay, source } of retries) {
      expect(source).to.equal('clean-end')
      expect(delay).to.be.within(40, 45)
    }
  })

  it('spreads the first retry too', async () => {
    const delays = new Set<number>()
    for (let i = 0; i < 5; i++) {
      const { delay } = await delayAfter({}, { baseDelay: 1000, jitter: 0.5 })
      expect(delay).to.be.within(500, 1000)
      delays.add(delay)
    }
    expect(delays.size).to.be.above(1)
  })
})

inEachMode('shouldRetry', ({ open }) => {
  it('can retry a 401 with a new token', async () => {
    await using server = await serveInTurn(answers(401), ends(wire(1)))
    let token = 'old'
    const source = open(
      (context) => httpUpstream(server.url, { headers: { authorization: token } })(context),
      {
        last: 'event 1',
        reconnect: {
          ...fast,
          async shouldRetry(error, { retryable }) {
            if (!(error instanceof SseError) || error.statusCode !== 401) return retryable
            token = 'new'
            return true
          },
        },
      },
    )
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    expect(server.requests.map(({ headers }) => headers.authorization)).to.deep.equal(['old', 'new'])
  })

  it('can refuse a retry that the library would make: the stream fails with the same error', async () => {
    await using server = await serve(answers(503))
    const source = open(httpUpstream(server.url), {
      reconnect: { ...fast, shouldRetry: () => false },
    })
    const { error } = await outcomeOf(source)
    expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 503 })
    expect(server.requests).to.have.length(1)
  })

  it('gets the decision of the library, and the state of the stream', async () => {
    await using server = await serveInTurn(ends(wire(1)), answers(404))
    const asked: object[] = []
    const source = open(httpUpstream(server.url), {
      reconnect: {
        ...fast,
        shouldRetry(error, context) {
          asked.push({ code: error instanceof SseError && error.code, ...context })
          return context.retryable
        },
      },
    })
    await outcomeOf(source)
    expect(asked).to.deep.equal([
      {
        code: 'ERR_SSE_DROPPED',
        attempts: 0,
        passedOn: true,
        lastEventId: '1',
        cursor: '1',
        retryable: true,
      },
      {
        code: 'ERR_SSE_STATUS',
        attempts: 1,
        passedOn: true,
        lastEventId: '1',
        cursor: '1',
        retryable: false,
      },
    ])
  })

  it('does not overrule maxRetries', async () => {
    await using server = await serve(answers(503))
    const reconnect = { ...fast, maxRetries: 2, shouldRetry: () => true }
    const { error } = await outcomeOf(open(httpUpstream(server.url), { reconnect }))
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.length(1 + 2)
  })

  for (const resume of ['with-cursor', 'before-first-event', 'never'] as const) {
    it(`does not overrule resume '${resume}', and is not asked`, async () => {
      await using server = await serve(resets('data: a\n\n'))
      let asked = 0
      const shouldRetry = () => {
        asked++
        return true
      }
      const source = open(httpUpstream(server.url), { resume, reconnect: { ...fast, shouldRetry } })
      const { error } = await outcomeOf(source)
      expect(error).to.include({ code: resume === 'never' ? 'ERR_SSE_DROPPED' : 'ERR_SSE_NOT_RESUMABLE' })
      expect(asked).to.equal(0)
      expect(server.requests).to.have.length(1)
    })
  }

  it('fails the stream with the error that it throws', async () => {
    await using server = await serve(answers(503))
    const own = new Error('own')
    const shouldRetry = () => {
      throw own
    }
    const { error } = await outcomeOf(open(httpUpstream(server.url), { reconnect: { ...fast, shouldRetry } }))
    expect(error).to.equal(own)
  })
})
