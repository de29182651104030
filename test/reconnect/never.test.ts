import { PassThrough, Readable } from 'node:stream'
import { expect } from 'chai'
import {
  createResilientSseSource,
  httpUpstream,
  type SourceOptions,
  SseError,
  type UpstreamFactory,
} from '../../src/index.ts'
import { checkSourceOptions } from '../../src/reconnect/options.ts'
import { ReconnectingStream } from '../../src/reconnect/reconnecting-stream.ts'
import { dataOf, drain, fast, lastIs, textOf, wire } from '../support/events.ts'
import { mockUpstream } from '../support/mock.ts'
import { answers, ends, resets, serve, serveInTurn, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

/** What a source announced, one word each. */
function announcements(source: ReturnType<typeof createResilientSseSource>): string[] {
  const seen: string[] = []
  for (const kind of ['open', 'drop', 'retry', 'gap', 'duplicate'] as const)
    source.on(kind, () => seen.push(kind))
  return seen
}

const never = { resume: 'never', reconnect: fast } as const

describe("resume: 'never'", () => {
  it('passes every byte on unchanged: reconnection times, comments, line ends, and the bytes after the last blank line', async () => {
    const body = 'retry: 5\r\ndata:a\r\n\r\n: c\nunknown: x\nid: 7\ndata: b\n\n{"not":"an event"}'
    await using server = await serve(ends(body))
    const source = createResilientSseSource(httpUpstream(server.url), never)
    const seen = announcements(source)
    expect(await textOf(source)).to.equal(body)
    expect(seen).to.deep.equal(['open'])
    expect(source.stats).to.deep.include({ attempts: 1, opens: 1, events: 2 })
    expect(source.stats.drops).to.deep.equal({ end: 0, reset: 0, 'idle-timeout': 0 })
    expect(source.lastEventId).to.equal('7')
    expect(server.requests).to.have.length(1)
  })

  it('counts events and has the last event ID, whether or not an option needs the events', async () => {
    const body = `${wire(1)}${wire(2)}: c\n\nid: 3\n\n`
    for (const options of [{}, { isTerminal: () => false }]) {
      const source = createResilientSseSource(() => Readable.from([body]), { ...never, ...options })
      const { chunks } = await drain(source)
      expect(Buffer.concat(chunks).toString()).to.equal(body)
      expect(source.stats.events).to.equal(2)
      expect(source.lastEventId).to.equal('3')
    }
  })

  for (const options of [{}, { isTerminal: () => false }]) {
    const asked = Object.keys(options).length === 0 ? 'unread' : 'read'
    it(`is kept alive by events alone with idleResetOn 'events', with events ${asked}`, async () => {
      using time = holdTime()
      const body = new PassThrough()
      const source = createResilientSseSource(() => body, {
        ...never,
        ...options,
        idleTimeout: 100,
        idleResetOn: 'events',
      })
      source.on('error', () => {}).resume()
      await time.pass(0)
      for (let id = 0; id < 3; id++) {
        body.write(wire(id))
        await time.pass(60)
      }
      expect(source.state).to.equal('open')
      body.write('id: 7\n\n: c\n\n')
      await time.pass(40)
      expect(source.state).to.equal('ended')
    })
  }

  it('is between blocks except while a block was passed on in part', async () => {
    const body = new PassThrough()
    const seen: boolean[] = []
    const stream = new ReconnectingStream(() => body, checkSourceOptions(never), {
      blocks() {
        // The engine knows once this has returned.
        setImmediate(() => seen.push(stream.isBetweenBlocks))
        return true
      },
      event: () => true,
      announced() {},
      end() {},
      fail() {},
    })
    expect(stream.isBetweenBlocks).to.equal(true)
    stream.start()
    for (const [n, bytes] of ['data: ha', 'lf\n\n', ': c', '\n'].entries()) {
      body.write(bytes)
      await until(
        () => seen.length > n,
        () => bytes,
      )
    }
    stream.stop()
    expect(seen).to.deep.equal([false, true, false, true])
  })

  it('passes bytes on before their block is complete', async () => {
    let finish = () => {}
    await using server = await serve((_, response) => {
      stream(response, 'data: ha')
      finish = () => response.end('lf\n\n')
    })
    const source = createResilientSseSource(httpUpstream(server.url), never)
    let text = ''
    for await (const chunk of source) {
      text += chunk
      if (text === 'data: ha') finish()
    }
    expect(text).to.equal('data: half\n\n')
  })

  it('yields events in object mode, and logs no retry for a clean end', async () => {
    await using server = await serve(ends(`retry: 5\n\n${wire(1)}${wire(2)}`))
    const source = createResilientSseSource(httpUpstream(server.url), { ...never, objectMode: true })
    const seen = announcements(source)
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(seen).to.deep.equal(['open'])
  })

  for (const objectMode of [false, true]) {
    const mode = objectMode ? 'object mode' : 'byte mode'
    const failures: readonly [
      name: string,
      server: Parameters<typeof serve>[0],
      options: SourceOptions,
      code: string,
    ][] = [
      ['a reset', resets(wire(1), 'id: 2\nda'), {}, 'ERR_SSE_DROPPED'],
      ['a reset before the first event', resets(': c\n'), {}, 'ERR_SSE_DROPPED'],
      [
        'silence',
        (_, response) => void stream(response, wire(1)),
        { idleTimeout: 30 },
        'ERR_SSE_IDLE_TIMEOUT',
      ],
      ['a refusal that is retryable elsewhere', answers(503), {}, 'ERR_SSE_STATUS'],
      ['a connection that does not come about', (request) => request.socket.destroy(), {}, 'ERR_SSE_CONNECT'],
      ['an end without the terminal event', ends(wire(1)), { isTerminal: lastIs('z') }, 'ERR_SSE_DROPPED'],
      [
        'an event that is too large',
        ends(wire(1, 'x'.repeat(2000))),
        { maxEventSize: 1000 },
        'ERR_SSE_EVENT_TOO_LARGE',
      ],
    ]
    for (const [name, script, options, code] of failures) {
      it(`fails at ${name} and does not retry, in ${mode}`, async () => {
        await using server = await serve(script)
        const shouldRetry = () => true
        const source = createResilientSseSource(httpUpstream(server.url), {
          ...never,
          reconnect: { ...fast, shouldRetry },
          ...options,
          objectMode,
        })
        const seen = announcements(source)
        const { error } = await drain(source)
        expect(error).to.include({ code })
        expect(seen).to.not.include('retry')
        expect(server.requests).to.have.length(1)
      })
    }

    it(`ends at the terminal event, in ${mode}`, async () => {
      await using server = await serve((_, response) => void stream(response, wire(1) + wire(2, '[DONE]')))
      const source = createResilientSseSource(httpUpstream(server.url), {
        ...never,
        objectMode,
        isTerminal: lastIs('[DONE]'),
      })
      const { chunks, error } = await drain(source)
      expect(error).to.equal(undefined)
      expect(chunks).to.have.length(objectMode ? 2 : 1)
      expect(source.stats.events).to.equal(2)
    })
  }

  it('passes the half-received event on at a drop', async () => {
    await using server = await serve(resets(wire(1), 'id: 2\ndata: ha'))
    const { chunks, error } = await drain(createResilientSseSource(httpUpstream(server.url), never))
    expect(Buffer.concat(chunks).toString()).to.equal(`${wire(1)}id: 2\ndata: ha`)
    expect(error).to.include({ code: 'ERR_SSE_DROPPED' })
  })
})

describe('a factory whose method is not idempotent', () => {
  const post = (url: string) => httpUpstream(url, { method: 'POST', body: '{}' })

  it('is called again while the upstream answers that it has not processed the request', async () => {
    await using server = await serveInTurn(answers(429), answers(503), ends('data: a\n\n'))
    const source = createResilientSseSource(post(server.url), { reconnect: fast })
    expect(await textOf(source)).to.equal('data: a\n\n')
    expect(server.requests.map(({ method }) => method)).to.deep.equal(['POST', 'POST', 'POST'])
  })

  it('is called again when no connection was made', async () => {
    const codes: unknown[] = []
    const factory: UpstreamFactory = Object.assign(
      () => {
        if (codes.length < 2) throw new SseError('ERR_SSE_CONNECT', 'refused', { sent: false })
        return new Response('data: a\n\n', { headers: { 'content-type': 'text/event-stream' } })
      },
      { method: 'POST' },
    )
    const source = createResilientSseSource(factory, { reconnect: fast })
    source.on('retry', ({ error }) => codes.push(error.code))
    expect(await textOf(source)).to.equal('data: a\n\n')
    expect(codes).to.deep.equal(['ERR_SSE_CONNECT', 'ERR_SSE_CONNECT'])
  })

  for (const [name, script] of [
    ['the connection closes without an answer', (request) => void request.socket.destroy()],
    ['the answer drops before its first event', resets(': hello\n\n')],
    ['the answer drops behind an event', resets(wire(1))],
  ] as const satisfies readonly [string, Parameters<typeof serve>[0]][]) {
    it(`is not called again when ${name}`, async () => {
      await using server = await serve(script)
      const { error } = await drain(createResilientSseSource(post(server.url), { reconnect: fast }))
      expect(error).to.be.instanceOf(SseError)
      expect(server.requests).to.have.length(1)
    })
  }

  it('is not called again when no answer came in time', async () => {
    await using server = await serve(() => {})
    const { error } = await drain(
      createResilientSseSource(post(server.url), { reconnect: fast, connectTimeout: 20 }),
    )
    expect(error).to.include({ code: 'ERR_SSE_CONNECT_TIMEOUT' })
    expect(server.requests).to.have.length(1)
  })

  it('is called once for an answer that ends, which is passed on unchanged', async () => {
    const body = 'retry: 10\n\n: c\ndata:a\n\nbare'
    using scope = mockUpstream()
    scope.post('/').reply(200, body, { 'content-type': 'text/event-stream' })
    const source = createResilientSseSource(post('http://upstream.test/'), { reconnect: fast })
    expect(await textOf(source)).to.equal(body)
  })

  it("is called again after an event with resume 'always'", async () => {
    await using server = await serveInTurn(resets(wire(1)), ends(wire(2, 'end')))
    const source = createResilientSseSource(post(server.url), {
      reconnect: fast,
      resume: 'always',
      isTerminal: lastIs('end'),
    })
    expect(await textOf(source)).to.equal(wire(1) + wire(2, 'end'))
  })
})
