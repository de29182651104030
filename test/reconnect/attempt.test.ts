import { PassThrough } from 'node:stream'
import { expect } from 'chai'
import { httpUpstream, SseError, type UpstreamContext } from '../../src/index.ts'
import { fast, next, wire } from '../support/events.ts'
import { mockUpstream } from '../support/mock.ts'
import { dataOf, inEachMode, outcomeOf } from '../support/modes.ts'
import { answers, ends, freePort, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

inEachMode('what happens on an attempt', ({ open }) => {
  describe('before anything was passed on', () => {
    it('retries when the factory throws or rejects', async () => {
      await using server = await serve(ends(wire(1)))
      const dial = httpUpstream(server.url)
      const seen: UpstreamContext[] = []
      const source = open(
        (context) => {
          seen.push(context)
          if (seen.length === 1) throw new Error('thrown')
          if (seen.length === 2) return Promise.reject(new Error('rejected'))
          return dial(context)
        },
        { reconnect: fast, last: 'event 1' },
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

    it('retries a refused connection until the server listens', async () => {
      const port = await freePort()
      const source = open(httpUpstream(`http://127.0.0.1:${port}/`), {
        reconnect: { ...fast, maxRetries: Number.POSITIVE_INFINITY },
        last: 'event 1',
      })
      const events = dataOf(source)
      const { error } = await next(source, 'retry')
      expect(error.cause).to.include({ code: 'ECONNREFUSED' })
      await using _ = await serve(ends(wire(1)), port)
      expect(await events).to.deep.equal(['event 1'])
    })

    it('retries when the head does not come within connectTimeout, and closes that socket', async () => {
      await using server = await serveInTurn(() => {}, ends(wire(1)))
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        connectTimeout: 30,
        last: 'event 1',
      })
      const retry = next(source, 'retry')
      expect(await dataOf(source)).to.deep.equal(['event 1'])
      expect((await retry).error).to.include({ code: 'ERR_SSE_CONNECT_TIMEOUT' })
      const [first] = server.requests
      expect(first?.socket.destroyed).to.equal(true)
    })

    it('retries when the factory never settles, and discards a late upstream', async () => {
      await using server = await serve(stays(wire(1)))
      let settleLate = () => {}
      let calls = 0
      const dial = httpUpstream(server.url)
      const source = open(
        async (context) => {
          if (calls++ > 0) return dial(context)
          await new Promise<void>((resolve) => {
            settleLate = resolve
          })
          return dial({ ...context, signal: new AbortController().signal })
        },
        { reconnect: fast, connectTimeout: 20, last: 'event 1' },
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
        const source = open(httpUpstream('http://upstream.test/'), {
          reconnect: fast,
          last: 'event 1',
        })
        expect(await dataOf(source)).to.deep.equal(['event 1'])
      })
    }

    it('reports the URL that answered, redacted, when the factory has no url', async () => {
      await using server = await serve(stays(wire(1)))
      const source = open((context) => fetch(`${server.url}?token=secret`, context), { last: 'event 1' })
      const opened = next(source, 'open')
      await dataOf(source)
      expect((await opened).upstream).to.equal(`${server.url}?token=*`)
    })

    it('ends at a 204', async () => {
      await using server = await serve(answers(204))
      const source = open(httpUpstream(server.url), { reconnect: fast })
      expect(await dataOf(source)).to.deep.equal([])
      expect(source.state).to.equal('ended')
      expect(server.requests).to.have.length(1)
    })

    it('discards the body of a 204', async () => {
      const body = new PassThrough()
      const source = open(() => ({ statusCode: 204, headers: {}, body }), { reconnect: fast })
      expect(await dataOf(source)).to.deep.equal([])
      expect(body.destroyed).to.equal(true)
    })

    for (const status of [408, 425, 429, 500, 501, 502, 503, 504, 599]) {
      it(`retries a ${status}`, async () => {
        using scope = mockUpstream()
        scope.get('/').reply(status, 'later')
        scope.get('/').reply(200, wire(1), { 'content-type': 'text/event-stream' })
        const source = open(httpUpstream('http://upstream.test/'), {
          reconnect: fast,
          last: 'event 1',
        })
        expect(await dataOf(source)).to.deep.equal(['event 1'])
        expect(source.stats).to.deep.include({ attempts: 2, opens: 1 })
      })
    }

    for (const status of [201, 206, 301, 304, 307, 400, 401, 403, 404, 410, 451]) {
      it(`fails at a ${status} with ERR_SSE_STATUS`, async () => {
        using upstream = mockUpstream()
        upstream.get('/').reply(status, 'no', { 'x-why': 'because' })
        const { error } = await outcomeOf(open(httpUpstream('http://upstream.test/'), { reconnect: fast }))
        expect(error).to.be.instanceOf(SseError)
        expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: status })
        expect(error).to.have.nested.property('headers.x-why', 'because')
      })
    }

    for (const contentType of ['text/html', 'text/event-streamer', 'application/json', undefined]) {
      it(`fails at a 200 of type ${contentType} with ERR_SSE_CONTENT_TYPE`, async () => {
        using upstream = mockUpstream()
        upstream.get('/').reply(200, '<html>', contentType ? { 'content-type': contentType } : {})
        const { error } = await outcomeOf(open(httpUpstream('http://upstream.test/'), { reconnect: fast }))
        expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE', statusCode: 200 })
      })
    }

    it('fails at a content-encoding that it cannot decode', async () => {
      const headers = { 'content-type': 'text/event-stream', 'content-encoding': 'compress' }
      await using server = await serve(answers(200, headers, wire(1)))
      const { error } = await outcomeOf(open(httpUpstream(server.url), { reconnect: fast }))
      expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE' })
      expect(error).to.have.property('message').that.includes('compress')
    })

    it('fails at once with a TypeError when the factory returns a value that is not an upstream', async () => {
      const headers = { 'content-type': 'text/event-stream' }
      for (const wrong of [
        undefined,
        null,
        42,
        'text',
        {},
        { statusCode: 200 },
        { statusCode: 200, headers, body: 'x' },
        { statusCode: 200, headers, body: null },
        { statusCode: '200', headers, body: 'x' },
        { pipe() {}, on() {} },
        { on() {}, destroy() {} },
        { pipe() {}, destroy() {} },
        { getReader() {} },
        { locked: false },
      ]) {
        let calls = 0
        const factory = () => {
          calls++
          return wrong
        }
        // @ts-expect-error what a caller without types may give
        const source = open(factory, { reconnect: fast })
        const { error } = await outcomeOf(source)
        expect(error)
          .to.be.instanceOf(TypeError)
          .with.property('message')
          .that.includes('factory must return')
        expect(calls).to.equal(1)
      }
    })
  })

  describe('after an event was passed on', () => {
    it('retries refused connections, 503s, timeouts and an HTML page with status 200, and then continues', async () => {
      await using server = await serveInTurn(
        ends(wire(1)),
        // A connection that is kept would be one on which the next request gets a redial.
        answers(503, { connection: 'close' }),
        (request) => request.socket.destroy(),
        answers(200, { 'content-type': 'text/html' }, '<h1>deploying</h1>'),
        () => {},
        stays(wire(2)),
      )
      const source = open(httpUpstream(server.url), {
        reconnect: fast,
        connectTimeout: 250,
        last: 'event 2',
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
      expect(await dataOf(open(httpUpstream(server.url), { reconnect: fast }))).to.deep.equal(['event 1'])
    })

    for (const status of [301, 400, 401, 404]) {
      it(`fails at a ${status}`, async () => {
        await using server = await serveInTurn(ends(wire(1)), answers(status))
        const { data, error } = await outcomeOf(open(httpUpstream(server.url), { reconnect: fast }))
        expect(data).to.have.length(1)
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
    const source = open(httpUpstream(server.url, { agent }), {
      connectTimeout: 2000,
      reconnect: { ...fast, maxRetries: 6 },
    })
    const { error } = await outcomeOf(source)
    expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    expect(server.requests).to.have.length(1 + 6)
    agent.destroy()
  })
})
