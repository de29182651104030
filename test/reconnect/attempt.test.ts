import { expect } from 'chai'
import { createResilientSseSource, httpUpstream, SseError, type UpstreamContext } from '../../src/index.ts'
import { dataOf, drain, fast, lastIs, next, wire } from '../support/events.ts'
import { mockUpstream } from '../support/mock.ts'
import { answers, ends, freePort, serve, serveInTurn, stays } from '../support/server.ts'
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
