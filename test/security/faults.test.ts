import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect } from 'chai'
import {
  createDedupe,
  createResilientSseSource,
  createSerializer,
  EventTracker,
  httpUpstream,
  type RelayOptions,
  type RelaySummary,
  type ResilientSseSource,
  relayResponse,
  type SseEvent,
  type UpstreamFactory,
} from '../../src/index.ts'
import { library, runModule } from '../support/child.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { drain, fast, wire } from '../support/events.ts'
import { proxyTo, relayTo } from '../support/gateway.ts'
import { answers, ends, freePort, isLeft, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const own = new Error('own')
const fault = () => {
  throw own
}

type Stages = (source: ResilientSseSource<SseEvent>, res: ServerResponse) => Promise<void>

describe('a fault in a stage of a pipeline', () => {
  const through = (stage: Transform) => (source: ResilientSseSource<SseEvent>, res: ServerResponse) =>
    pipeline(source, stage, createSerializer(), res)
  const cases: Record<string, Stages> = {
    'an async generator that throws': (source, res) =>
      pipeline(
        source,
        createDedupe(),
        async function* (events: AsyncIterable<SseEvent>) {
          for await (const event of events) yield event.id === '2' ? fault() : event
        },
        createSerializer(),
        res,
      ),
    'a Transform that calls back with an error': through(
      new Transform({
        objectMode: true,
        transform: (event: SseEvent, _, callback) => callback(event.id === '2' ? own : null, event),
      }),
    ),
    'a Transform that throws': through(
      new Transform({
        objectMode: true,
        transform: (event: SseEvent, _, callback) => callback(null, event.id === '2' ? fault() : event),
      }),
    ),
    'a tracker whose identity throws': through(
      createDedupe(new EventTracker({ identity: ({ id }) => (id === '2' ? fault() : id) })),
    ),
    'a duplicate listener that throws': through(createDedupe().on('duplicate', fault)),
  }
  for (const [name, run] of Object.entries(cases)) {
    it(`${name} fails the pipeline with the same error, closes the upstream, and breaks the response`, async () => {
      await using upstream = await serve(stays(wire(1), wire(1), wire(2)))
      const faults: unknown[] = []
      await using server = await serve((_, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' })
        const source = createResilientSseSource(httpUpstream(upstream.url), {
          objectMode: true,
          dedupe: false,
        })
        run(source, res).catch((error: unknown) => faults.push(error))
      })
      expect(await answerOf(server.url)).to.include({ over: 'broken' })
      expect(faults).to.deep.equal([own])
      await isLeft(upstream)
      expect(upstream.requests).to.have.length(1)
    })
  }
})

describe('a fault in a function of a relay', () => {
  const nothing = () => {}
  // A connection that is kept would stay open.
  const refuses = answers(503, { connection: 'close' })
  it('before the head rejects, and the caller answers the client', async () => {
    const logger = { debug: fault, info: nothing, warn: nothing, error: nothing }
    for (const [script, options, requests] of [
      [stays(wire(1)), { logger }, 0],
      [refuses, { reconnect: { ...fast, shouldRetry: fault } }, 1],
      [refuses, { reconnect: { ...fast, shouldRetry: () => Promise.reject(own) } }, 1],
    ] as const) {
      await using upstream = await serve(script)
      await using gateway = await relayTo(httpUpstream(upstream.url), options)
      expect(await answerOf(gateway.url)).to.include({ status: 500, over: 'end' })
      expect(gateway.faults).to.deep.equal([own])
      expect(upstream.requests).to.have.length(requests)
      await isLeft(upstream)
    }
  })

  const after: Record<string, RelayOptions> = {
    shouldRetry: { reconnect: { ...fast, shouldRetry: fault } },
    'logger.info': { logger: { debug: nothing, info: fault, warn: nothing, error: nothing } },
    'logger.error': {
      resume: 'before-first-event',
      isTerminal: () => false,
      logger: { debug: nothing, info: nothing, warn: nothing, error: fault },
    },
  }
  for (const [name, options] of Object.entries(after)) {
    it(`after the head rejects, and breaks the client's connection: ${name}`, async () => {
      await using upstream = await serve(ends(wire(1)))
      await using gateway = await relayTo(httpUpstream(upstream.url), options)
      expect(await answerOf(gateway.url)).to.include({ status: 200, text: wire(1), over: 'broken' })
      await until(
        () => gateway.faults.length > 0,
        () => 'the relay rejects',
      )
      expect(gateway.faults).to.deep.equal([own])
      expect(upstream.requests).to.have.length(1)
    })
  }

  for (const [name, options] of Object.entries<RelayOptions>({
    isTerminal: { isTerminal: fault },
    errorEvent: { maxEventSize: 100, errorEvent: fault },
  })) {
    it(`reaches onEnd of relayResponse, and breaks the body: ${name}`, async () => {
      await using upstream = await serve(stays(': hi\n', `data: ${'x'.repeat(200)}\n\n`))
      const ended: [error: unknown, summary: RelaySummary | undefined][] = []
      const response = await relayResponse(
        new Request('http://gateway.test/'),
        httpUpstream(upstream.url),
        options,
        (error, summary) => ended.push([error, summary]),
      )
      const broken = await response.text().then(
        () => false,
        () => true,
      )
      expect(broken).to.equal(true)
      expect(ended).to.deep.equal([[own, undefined]])
      await isLeft(upstream)
    })
  }

  for (const [name, relay] of Object.entries<RelayOptions>({
    isTerminal: { isTerminal: fault },
    shouldRetry: { reconnect: { ...fast, shouldRetry: fault } },
    errorEvent: { reconnect: { ...fast, maxRetries: 0 }, errorEvent: fault },
  })) {
    it(`reaches onError of a proxy, and breaks the client's connection: ${name}`, async () => {
      await using upstream = await serve(ends(wire(1)))
      await using gateway = await proxyTo(upstream.port, { relay })
      expect(await answerOf(gateway.url)).to.include({ status: 200, over: 'broken' })
      await until(
        () => gateway.faults.length > 0,
        () => 'the fault is reported',
      )
      expect(gateway.faults).to.deep.equal([own])
      expect(upstream.requests).to.have.length(1)
    })
  }
})

describe('a factory', () => {
  for (const thrown of [own, 'text', null, undefined]) {
    for (const how of ['throws', 'rejects with'] as const) {
      it(`that ${how} ${thrown} fails its attempts; the value is the cause of the final error, and the client gets a 502`, async () => {
        let calls = 0
        await using gateway = await relayTo(
          () => {
            calls++
            if (how === 'throws') throw thrown
            return Promise.reject(thrown)
          },
          { reconnect: { ...fast, maxRetries: 2 } },
        )
        expect(await answerOf(gateway.url)).to.include({ status: 502, over: 'end' })
        expect(calls).to.equal(1 + 2)
        const error = gateway.summaries[0]?.error
        expect(error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
        expect(error).to.have.nested.property('cause.code', 'ERR_SSE_CONNECT')
        expect(error).to.have.nested.property('cause.cause', thrown)
      })
    }
  }

  it('that never settles runs into connectTimeout, and its client gets a 504', async () => {
    const signals: AbortSignal[] = []
    await using gateway = await relayTo(
      ({ signal }) => {
        signals.push(signal)
        return new Promise(() => {})
      },
      { connectTimeout: 20, reconnect: { ...fast, maxRetries: 2 } },
    )
    expect(await answerOf(gateway.url)).to.include({ status: 504, over: 'end' })
    expect(signals.map(({ aborted }) => aborted)).to.deep.equal([true, true, true])
    expect(gateway.summaries[0]?.error).to.have.nested.property('cause.code', 'ERR_SSE_CONNECT_TIMEOUT')
  })

  it('that never settles during an outage is called again, and the client misses no event', async () => {
    await using upstream = await serveInTurn(ends(wire(1)), stays(wire(2)))
    const open = httpUpstream(upstream.url)
    let calls = 0
    await using gateway = await relayTo(
      (context) => (++calls === 2 ? new Promise(() => {}) : open(context)),
      { connectTimeout: 200 },
    )
    using client = ask(gateway.url)
    await has(client, wire(1) + wire(2))
    expect(calls).to.equal(3)
  })

  const ignoring: Record<string, (url: string) => UpstreamFactory> = {
    fetch: (url) => () => fetch(url),
    'node:http': (url) => (context) =>
      httpUpstream(url, { agent: false })({ ...context, signal: new AbortController().signal }),
  }
  for (const [client, open] of Object.entries(ignoring)) {
    it(`that ignores its signal and resolves too late, through ${client}, has its response closed`, async () => {
      let answer = () => {}
      await using upstream = await serve((request, response) => {
        answer = () => stays(wire(1))(request, response)
      })
      await using gateway = await relayTo(open(upstream.url), { connectTimeout: 50, headTimeout: 0 })
      expect(await answerOf(gateway.url)).to.include({ status: 504 })
      const [request] = upstream.requests
      expect(request?.socket.destroyed).to.equal(false)
      answer()
      // Not that nobody is connected: fetch dials ahead.
      await until(
        () => request?.socket.destroyed === true,
        () => 'the late response is closed',
      )
    })
  }
})

describe('the process', () => {
  const prelude = `
    import diagnosticsChannel from 'node:diagnostics_channel'
    import { once } from 'node:events'
    import http from 'node:http'
    import { createResilientSseSource, createSseProxy, httpUpstream, relayResponse, relaySse } from '${library}'
    const upstream = process.argv[1]
    const reconnect = { baseDelay: 1, minDelay: 1, maxDelay: 2, maxRetries: 2 }
    const fault = () => { throw new Error('own') }
  `

  it('survives every fault, and the responses of all clients end', async () => {
    await using upstream = await serve((request, response) => {
      const [, script] = request.url?.split('/') ?? []
      if (script === 'ends') ends(': hi\n\n', wire(1))(request, response)
      else if (script === 'fails') answers(503)(request, response)
      else stays(': hi\n\n', wire(1))(request, response)
    })
    const { code, out, err } = await runModule(`${prelude}${everyFault}`, [upstream.url])
    expect(err).to.equal('')
    expect(code).to.equal(0)
    expect(out).to.match(/^\d+ relays, all over\n$/)
    expect(Number.parseInt(out, 10)).to.be.above(40)
  })

  it('gets the error of a diagnostics_channel subscriber as an uncaught exception, and the stream continues', async () => {
    await using upstream = await serve(stays(wire(1, 'end')))
    const script = `${prelude}
      const uncaught = []
      process.on('uncaughtException', ({ message }) => uncaught.push(message))
      diagnosticsChannel.subscribe('resilient-sse:open', fault)
      const source = createResilientSseSource(httpUpstream(upstream), { isTerminal: () => true, objectMode: true })
      const [[{ data }]] = await Promise.all([once(source, 'data'), once(source, 'close')])
      console.log(data, uncaught.join(), source.errored)
    `
    expect(await runModule(script, [upstream.url])).to.include({ code: 0, out: 'end own null\n' })
  })
})

/** A program: each kind of fault behind each kind of relay, with a client each. */
const everyFault = `
  const at = (path) => httpUpstream(new URL('/' + path, upstream), { agent: false })
  const nothing = () => {}
  const logs = (level) => ({ logger: { debug: nothing, info: nothing, warn: nothing, error: nothing, [level]: fault } })
  const factories = [
    fault, () => Promise.reject(new Error('own')), () => { throw undefined }, () => { throw null }, () => { throw 'text' },
    () => new Promise(nothing), () => undefined, () => null, () => 5, () => 'text', () => ({}), () => [],
    () => ({ statusCode: 200, headers: { 'content-type': 'text/event-stream' }, body: 5 }),
    () => ({ status: 200, headers: new Headers(), body: null }),
    async function* () { yield { not: 'bytes' } }, async function* () { yield ': hi\\n\\n'; fault() },
    () => ({ get headers() { return fault() }, status: 200 }),
  ].map((factory) => [factory, {}])
  const functions = [
    [at('stays'), { isTerminal: fault }], [at('stays'), { cursor: fault }], [at('stays'), { cursor: () => 5 }],
    [at('fails'), { reconnect: { ...reconnect, shouldRetry: fault } }],
    [at('fails'), { reconnect: { ...reconnect, shouldRetry: () => Promise.reject(new Error('own')) } }],
    [at('ends'), { reconnect: { ...reconnect, shouldRetry: fault } }],
    [at('stays'), logs('debug')], [at('ends'), logs('info')], [at('fails'), logs('error')],
    [at('stays'), { maxEventSize: 5, errorEvent: fault }],
    [at('stays'), { maxEventSize: 5, errorEvent: () => ({ event: 'a\\nb', data: '' }) }],
    [at('stays'), { maxEventSize: 5, errorEvent: async () => ({ data: '' }) }],
  ]
  let n = 0
  const serve = async (listener) => {
    const server = http.createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    await new Promise((resolve) => {
      const request = http.get({ port: server.address().port, agent: false }, (response) => {
        response.resume().on('error', nothing).on('close', resolve)
      })
      request.on('error', resolve)
    })
    n++
    server.close()
  }
  const all = []
  for (const [factory, more] of [...factories, ...functions]) {
    const options = { reconnect, connectTimeout: 50, ...more }
    for (const head of ['lazy', 'eager']) all.push(serve((req, res) => {
      relaySse(req, res, factory, { ...options, head }).catch((error) => res.destroy(error))
    }))
    all.push(new Promise((resolve) => {
      relayResponse(new Request('http://a.test/'), factory, options, resolve)
        .then((response) => response.text())
        .catch(nothing)
    }).then(() => n++))
  }
  for (const [factory, { cursor, logger, ...relay }] of functions) {
    // A proxy has no such option.
    if (cursor !== undefined) continue
    const { url } = factory
    all.push(serve(createSseProxy({ upstream: url, relay: { reconnect, ...relay }, logger })))
  }
  await Promise.all(all)
  console.log(n + ' relays, all over')
`

describe('a fault that cannot be made a string', () => {
  const noString = {
    toString() {
      throw new Error('no')
    },
  }
  for (const [name, thrown] of [
    ['without a prototype', Object.create(null)],
    ['whose toString throws', noString],
  ] as const) {
    it(`fails an attempt: an object ${name}`, async () => {
      const factory = () => Promise.reject(thrown)
      const { error } = await drain(
        createResilientSseSource(factory, { reconnect: { ...fast, maxRetries: 1 } }),
      )
      expect(error).to.have.nested.property('cause.cause', thrown)
    })

    it(`fails the stream where shouldRetry throws it: an object ${name}`, async () => {
      const shouldRetry = () => Promise.reject(thrown)
      const factory = () => Promise.reject(own)
      const { error } = await drain(
        createResilientSseSource(factory, { reconnect: { ...fast, shouldRetry } }),
      )
      expect(error).to.have.property('cause', thrown)
    })
  }
})

describe('a fault in a function that is called after the end', () => {
  const warning = () => once(process, 'warning').then(([error]) => error)

  it('does not affect the answer to the client, and becomes a warning: onError of a proxy', async () => {
    const warned = warning()
    await using proxy = await proxyTo(await freePort(), { onError: fault })
    expect(await answerOf(proxy.url)).to.include({ status: 502, over: 'end' })
    expect(await warned).to.equal(own)
  })

  it('becomes a warning: onEnd of relayResponse', async () => {
    const warned = warning()
    const factory = () => Readable.from(['data: 1\n\n'])
    const request = new Request('http://a.test/')
    const response = await relayResponse(request, factory, { isTerminal: () => true }, fault)
    expect(await response.text()).to.equal('data: 1\n\n')
    expect(await warned).to.equal(own)
  })
})

it('a refusal with a field that cannot be written is answered without the field', async () => {
  const headers = { 'www-authenticate': 'a\u0001b', 'retry-after': '7' }
  await using relay = await relayTo(() => ({ statusCode: 401, headers, body: Readable.from([]) }))
  expect(await answerOf(relay.url)).to.include({ status: 401, over: 'end' })
  expect(relay.faults).to.deep.equal([])
})
