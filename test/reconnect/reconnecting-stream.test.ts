import { once } from 'node:events'
import { expect } from 'chai'
import {
  createResilientSseSource,
  httpUpstream,
  type RetryMessage,
  type SourceOptions,
  SseError,
  type UpstreamContext,
} from '../../src/index.ts'
import { dataOf, drain, fast, lastIs, next, wire } from '../support/events.ts'
import { mockUpstream } from '../support/mock.ts'
import { answers, ends, freePort, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const objects = { objectMode: true, reconnect: fast } as const

describe('what happens on an attempt', () => {
  describe('before anything was passed on', () => {
    it('retries when the factory throws or rejects', async () => {
      await using server = await serve(ends(wire(1)))
      const open = httpUpstream(server.url)
      const seen: UpstreamContext[] = []
      const source = createResilientSseSource(
        (context) => {
          seen.push(context)
          if (seen.length === 1) throw new Error('thrown')
          if (seen.length === 2) return Promise.reject(new Error('rejected'))
          return open(context)
        },
        { ...objects, isTerminal: lastIs('event 1') },
      )
      expect(await dataOf(source)).to.deep.equal(['event 1'])
      expect(seen.map(({ attempt }) => attempt)).to.deep.equal([0, 1, 2])
      expect(seen.map(({ lastError }) => lastError?.message)).to.deep.equal([
        undefined,
        'the upstream could not be reached: thrown',
        'the upstream could not be reached: rejected',
      ])
      expect(seen[1]?.lastError).to.include({ code: 'ERR_SSE_CONNECT' })
    })

    it('retries a refused connection until somebody listens', async () => {
      const port = await freePort()
      const source = createResilientSseSource(httpUpstream(`http://127.0.0.1:${port}/`), {
        objectMode: true,
        reconnect: { ...fast, maxRetries: Number.POSITIVE_INFINITY },
        isTerminal: lastIs('event 1'),
      })
      const events = dataOf(source)
      const { error } = await next(source, 'retry')
      expect(error.cause).to.include({ code: 'ECONNREFUSED' })
      await using _ = await serve(ends(wire(1)), port)
      expect(await events).to.deep.equal(['event 1'])
    })

    it('retries when the head does not come within connectTimeout, and closes that socket', async () => {
      await using server = await serveInTurn(() => {}, ends(wire(1)))
      const source = createResilientSseSource(httpUpstream(server.url), {
        ...objects,
        connectTimeout: 30,
        isTerminal: lastIs('event 1'),
      })
      const retry = next(source, 'retry')
      expect(await dataOf(source)).to.deep.equal(['event 1'])
      expect((await retry).error).to.include({ code: 'ERR_SSE_CONNECT_TIMEOUT' })
      const [first] = server.requests
      expect(first?.socket.destroyed).to.equal(true)
    })

    it('retries when the factory never settles, and discards what it gives too late', async () => {
      await using server = await serve(stays(wire(1)))
      let settleLate = () => {}
      let calls = 0
      const open = httpUpstream(server.url)
      const source = createResilientSseSource(
        async (context) => {
          if (calls++ > 0) return open(context)
          await new Promise<void>((resolve) => {
            settleLate = resolve
          })
          return open({ ...context, signal: new AbortController().signal })
        },
        { ...objects, connectTimeout: 20, isTerminal: lastIs('event 1') },
      )
      expect(await dataOf(source)).to.deep.equal(['event 1'])
      settleLate()
      await until(
        () => server.requests[1]?.socket.destroyed === true,
        () => 'the late response is discarded',
      )
    })

    for (const contentType of [
      'text/event-stream',
      'text/event-stream; charset=utf-8',
      'TEXT/Event-Stream ;a=b',
    ]) {
      it(`opens a 200 of type ${contentType}`, async () => {
        using upstream = mockUpstream()
        upstream.get('/').reply(200, wire(1), { 'content-type': contentType })
        const source = createResilientSseSource(httpUpstream('http://upstream.test/'), {
          ...objects,
          isTerminal: lastIs('event 1'),
        })
        expect(await dataOf(source)).to.deep.equal(['event 1'])
      })
    }

    it('ends at a 204', async () => {
      await using server = await serve(answers(204))
      const source = createResilientSseSource(httpUpstream(server.url), objects)
      expect(await dataOf(source)).to.deep.equal([])
      expect(source.state).to.equal('ended')
      expect(server.requests).to.have.length(1)
    })

    for (const status of [408, 425, 429, 500, 501, 502, 503, 504, 599]) {
      it(`retries a ${status}`, async () => {
        using scope = mockUpstream()
        scope.get('/').reply(status, 'later')
        scope.get('/').reply(200, wire(1), { 'content-type': 'text/event-stream' })
        const source = createResilientSseSource(httpUpstream('http://upstream.test/'), {
          ...objects,
          isTerminal: lastIs('event 1'),
        })
        expect(await dataOf(source)).to.deep.equal(['event 1'])
        expect(source.stats).to.deep.include({ attempts: 2, opens: 1 })
      })
    }

    for (const status of [201, 206, 301, 304, 307, 400, 401, 403, 404, 410, 451]) {
      it(`fails at a ${status} with ERR_SSE_STATUS`, async () => {
        using upstream = mockUpstream()
        upstream.get('/').reply(status, 'no', { 'x-why': 'because' })
        const { error } = await drain(
          createResilientSseSource(httpUpstream('http://upstream.test/'), objects),
        )
        expect(error).to.be.instanceOf(SseError)
        expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: status })
        expect(error).to.have.nested.property('headers.x-why', 'because')
      })
    }

    for (const contentType of ['text/html', 'text/event-streamer', 'application/json', undefined]) {
      it(`fails at a 200 of type ${contentType} with ERR_SSE_CONTENT_TYPE`, async () => {
        using upstream = mockUpstream()
        upstream.get('/').reply(200, '<html>', contentType ? { 'content-type': contentType } : {})
        const { error } = await drain(
          createResilientSseSource(httpUpstream('http://upstream.test/'), objects),
        )
        expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE', statusCode: 200 })
      })
    }

    it('fails at a content-encoding that it cannot take off', async () => {
      const headers = { 'content-type': 'text/event-stream', 'content-encoding': 'compress' }
      await using server = await serve(answers(200, headers, wire(1)))
      const { error } = await drain(createResilientSseSource(httpUpstream(server.url), objects))
      expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE' })
      expect(error).to.have.property('message').that.includes('compress')
    })

    it('fails at once, with a TypeError, when the factory gives something that is no upstream', async () => {
      const headers = { 'content-type': 'text/event-stream' }
      for (const wrong of [
        undefined,
        null,
        42,
        'text',
        {},
        { statusCode: 200 },
        { statusCode: 200, headers, body: 'x' },
      ]) {
        let calls = 0
        const factory = () => {
          calls++
          return wrong
        }
        // @ts-expect-error what a caller without types may give
        const source = createResilientSseSource(factory, objects)
        const { error } = await drain(source)
        expect(error)
          .to.be.instanceOf(TypeError)
          .with.property('message')
          .that.includes('factory must return')
        expect(calls).to.equal(1)
      }
    })
  })

  describe('after an event was passed on', () => {
    it('retries refused connections, 503s, timeouts and a page of HTML under 200, and goes on', async () => {
      await using server = await serveInTurn(
        ends(wire(1)),
        answers(503),
        (request) => request.socket.destroy(),
        answers(200, { 'content-type': 'text/html' }, '<h1>deploying</h1>'),
        () => {},
        ends(wire(2)),
      )
      const source = createResilientSseSource(httpUpstream(server.url), {
        ...objects,
        connectTimeout: 250,
        isTerminal: lastIs('event 2'),
      })
      const codes: string[] = []
      source.on('retry', ({ error }) => codes.push(error.code))
      expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
      expect(codes).to.deep.equal([
        'ERR_SSE_DROPPED',
        'ERR_SSE_STATUS',
        'ERR_SSE_CONNECT',
        'ERR_SSE_CONTENT_TYPE',
        'ERR_SSE_CONNECT_TIMEOUT',
      ])
    })

    it('ends at a 204', async () => {
      await using server = await serveInTurn(ends(wire(1)), answers(204))
      expect(await dataOf(createResilientSseSource(httpUpstream(server.url), objects))).to.deep.equal([
        'event 1',
      ])
    })

    for (const status of [301, 400, 401, 404]) {
      it(`fails at a ${status}`, async () => {
        await using server = await serveInTurn(ends(wire(1)), answers(status))
        const { chunks, error } = await drain(createResilientSseSource(httpUpstream(server.url), objects))
        expect(chunks).to.have.length(1)
        expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: status })
      })
    }
  })

  it('destroys every error body that it does not read, so that a capped agent never runs dry', async () => {
    // Bodies that never end: one socket that is kept would be one request that never starts.
    await using server = await serve((_, response) => {
      response.writeHead(503).write('x'.repeat(100_000))
    })
    const { Agent } = await import('node:http')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const source = createResilientSseSource(httpUpstream(server.url, { agent }), {
      objectMode: true,
      connectTimeout: 2000,
      reconnect: { ...fast, maxRetries: 6 },
    })
    const { error } = await drain(source)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.length(1 + 6)
    agent.destroy()
  })
})

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

describe('delays', () => {
  const delayAfter = async (headers: Record<string, string>, reconnect: SourceOptions['reconnect'] = {}) => {
    using upstream = mockUpstream()
    upstream.get('/').reply(503, 'later', headers)
    const source = createResilientSseSource(httpUpstream('http://upstream.test/'), {
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

  it('takes Retry-After for a floor only', async () => {
    expect(await delayAfter({ 'retry-after': '0' })).to.include({ delay: 5, source: 'backoff' })
  })

  it('gives the status error its retryAfter', async () => {
    using upstream = mockUpstream()
    upstream.get('/').reply(404, 'no', { 'retry-after': '3' })
    const { error } = await drain(createResilientSseSource(httpUpstream('http://upstream.test/')))
    expect(error).to.include({ retryAfter: 3000 })
  })

  for (const [field, delay] of [
    ['retry: 50', 50],
    ['retry: 0', 10],
    ['retry: 4294967296', 90],
    ['retry: 99999999999999999999', 90],
    [`retry: ${'9'.repeat(400)}`, 90],
    ['retry: 5abc', 7],
    ['retry: -5', 7],
    ['retry: 1.5', 7],
    ['retry:', 7],
  ] as const) {
    it(`starts from ${delay} ms after ${field.slice(0, 30)}`, async () => {
      await using server = await serve(ends(`${field}\n\n`))
      const source = createResilientSseSource(httpUpstream(server.url), {
        reconnect: { baseDelay: 7, minDelay: 10, maxDelay: 90, jitter: 0 },
      })
      source.resume()
      const retry = await next(source, 'retry')
      source.destroy()
      expect(retry).to.include({ delay, source: delay === 7 ? 'backoff' : 'retry' })
    })
  }

  it('keeps the reconnection time across connections, and never counts it as progress', async () => {
    await using server = await serveInTurn(ends('retry: 3\n\n'), answers(503))
    const source = createResilientSseSource(httpUpstream(server.url), {
      reconnect: { baseDelay: 1, minDelay: 1, maxDelay: 1000, jitter: 0, maxRetries: 4 },
    })
    const delays: number[] = []
    source.on('retry', ({ delay }) => delays.push(delay))
    const { error } = await drain(source)
    expect(delays).to.deep.equal([3, 6, 12, 24])
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
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

describe('shouldRetry', () => {
  it('lets a 401 refresh and try once more', async () => {
    await using server = await serveInTurn(answers(401), ends(wire(1)))
    let token = 'old'
    const source = createResilientSseSource(
      (context) => httpUpstream(server.url, { headers: { authorization: token } })(context),
      {
        objectMode: true,
        isTerminal: lastIs('event 1'),
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

  it('can refuse what the table would retry: the stream fails with that very error', async () => {
    await using server = await serve(answers(503))
    const source = createResilientSseSource(httpUpstream(server.url), {
      reconnect: { ...fast, shouldRetry: () => false },
    })
    const { error } = await drain(source)
    expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 503 })
    expect(server.requests).to.have.length(1)
  })

  it('is told what would happen, and what happened so far', async () => {
    await using server = await serveInTurn(ends(wire(1)), answers(404))
    const asked: object[] = []
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: {
        ...fast,
        shouldRetry(error, context) {
          asked.push({ code: error instanceof SseError && error.code, ...context })
          return context.retryable
        },
      },
    })
    await drain(source)
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

  it('fails with what it throws', async () => {
    await using server = await serve(answers(503))
    const own = new Error('own')
    const shouldRetry = () => {
      throw own
    }
    const { error } = await drain(
      createResilientSseSource(httpUpstream(server.url), { reconnect: { ...fast, shouldRetry } }),
    )
    expect(error).to.equal(own)
  })
})

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

  it("'always' reports a gap when the id cannot be sent as a header", async () => {
    await using server = await serveInTurn(ends('id: a\u0001\ndata: a\n\n'), ends('data: b\n\n'))
    const source = createResilientSseSource(httpUpstream(server.url), { ...modes, isTerminal: lastIs('b') })
    const gap = next(source, 'gap')
    expect(await dataOf(source)).to.deep.equal(['a', 'b'])
    expect(await gap).to.include({ cursor: 'a\u0001' })
    expect(server.requests[1]?.headers).to.not.have.property('last-event-id')
  })

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

describe('initialResponse', () => {
  it('is adopted; the factory is called from the first drop on', async () => {
    await using server = await serveInTurn(resets(wire(1)), ends(wire(2)))
    const initialResponse = await fetch(server.url)
    let calls = 0
    const open = httpUpstream(server.url)
    const source = createResilientSseSource(
      (context) => {
        calls++
        expect(context).to.include({ attempt: 0, lastEventId: '1' })
        return open(context)
      },
      { objectMode: true, reconnect: fast, initialResponse, isTerminal: lastIs('event 2') },
    )
    const opened: number[] = []
    source.on('open', ({ attempt }) => opened.push(attempt))
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(opened).to.deep.equal([-1, 0])
    expect(calls).to.equal(1)
    expect(source.stats).to.include({ attempts: 1, opens: 2 })
  })

  it('is adopted mid-stream, after somebody has read from it', async () => {
    await using server = await serveInTurn((_, response) => {
      stream(response, wire(1))
      response.write(wire(2))
      setTimeout(() => response.write(wire(3)), 10)
    })
    const { request } = await import('node:http')
    const [initialResponse] = await once(request(server.url).end(), 'response')
    const adopt = () =>
      createResilientSseSource(httpUpstream(server.url), {
        objectMode: true,
        initialResponse,
        isTerminal: lastIs('event 3'),
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
    const source = createResilientSseSource(httpUpstream(server.url), {
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
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: fast,
      initialResponse,
      isTerminal: lastIs('event 1'),
    })
    await until(
      () => initialResponse.destroyed,
      () => 'the response is reset',
    )
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    expect(server.requests).to.have.length(2)
  })

  it('is refused when it is no upstream, or somebody else reads it', async () => {
    await using server = await serve(ends(wire(1)))
    const open = httpUpstream(server.url)
    // @ts-expect-error what a caller without types may give
    const wrong = () => createResilientSseSource(open, { initialResponse: {} })
    expect(wrong).to.throw(TypeError, 'initialResponse must be')
    const locked = await fetch(server.url)
    await locked.text()
    expect(() => createResilientSseSource(open, { initialResponse: locked })).to.throw(
      TypeError,
      'initialResponse must be a body that nobody else reads',
    )
  })

  it('that failed is followed by attempts, or is the end, as the table says', async () => {
    await using server = await serveInTurn(answers(503), ends(wire(1)), answers(404))
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      reconnect: fast,
      initialResponse: await fetch(server.url),
      isTerminal: lastIs('event 1'),
    })
    expect(await dataOf(source)).to.deep.equal(['event 1'])
    const initialResponse = await fetch(server.url)
    const { error } = await drain(createResilientSseSource(httpUpstream(server.url), { initialResponse }))
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
      const source = createResilientSseSource(httpUpstream(server.url), {
        objectMode: true,
        reconnect: fast,
        initialResponse,
        isTerminal: lastIs('event 1'),
      })
      expect(await dataOf(source)).to.deep.equal(['event 1'])
      expect(server.requests).to.have.length(2)
    })
  }
})
