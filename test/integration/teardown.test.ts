import { getEventListeners, once } from 'node:events'
import { expect } from 'chai'
import {
  createResilientSseSource,
  EventTracker,
  httpUpstream,
  type ResilientSseSource,
  type SourceOptions,
  SseError,
  type UpstreamContext,
} from '../../src/index.ts'
import { library, runModule } from '../support/child.ts'
import { drain, fast, lastIs, next, wire } from '../support/events.ts'
import { answers, ends, isLeft, serve, serveInTurn, stays, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Ways to stop a source, and what it fails with then. */
const ways: Record<string, (source: ResilientSseSource<Buffer>, controller: AbortController) => void> = {
  'destroy()': (source) => source.destroy(),
  'destroy(error)': (source) => source.destroy(new Error('own')),
  'the signal': (_, controller) => controller.abort(),
}

const states: Record<
  string,
  { handler: Parameters<typeof serve>[0]; options?: SourceOptions; reach(s: Subject): Promise<void> }
> = {
  'before it is read': { handler: stays(wire(1)), reach: async () => {} },
  dialling: {
    handler: () => {},
    reach: async ({ source, server }) => {
      source.resume()
      await until(
        () => server.requests.length === 1,
        () => 'a request',
      )
      expect(source.state).to.equal('connecting')
    },
  },
  waiting: {
    handler: answers(503),
    options: { reconnect: { baseDelay: 60_000 } },
    reach: async ({ source }) => {
      source.resume()
      await next(source, 'retry')
      expect(source.state).to.equal('waiting')
    },
  },
  open: {
    handler: stays(wire(1)),
    reach: async ({ source }) => {
      await once(source, 'data')
      expect(source.state).to.equal('open')
    },
  },
  backpressured: {
    handler: stays(wire(1), 'x'.repeat(1000), wire(2)),
    options: { highWaterMark: 1 },
    reach: async ({ source }) => {
      source.read(0)
      await once(source, 'readable')
    },
  },
}

interface Subject {
  readonly source: ResilientSseSource<Buffer>
  readonly server: TestServer
  readonly contexts: UpstreamContext[]
}

describe('stopping', () => {
  for (const [state, { handler, options, reach }] of Object.entries(states)) {
    for (const [way, stop] of Object.entries(ways)) {
      it(`by ${way} while ${state} takes effect at once: no further event, socket closed, signal aborted, no retry`, async () => {
        await using server = await serve(handler)
        const controller = new AbortController()
        const contexts: UpstreamContext[] = []
        const open = httpUpstream(server.url)
        const source = createResilientSseSource(
          (context) => {
            contexts.push(context)
            return open(context)
          },
          { ...options, signal: controller.signal },
        )
        let error: Error | undefined
        source.on('error', (thrown) => {
          error = thrown
        })
        await reach({ source, server, contexts })
        const after: unknown[] = []
        for (const event of ['data', 'open', 'drop', 'retry'] as const)
          source.on(event, (got) => after.push(got))
        const requests = server.requests.length
        stop(source, controller)
        expect(source.state).to.equal('ended')
        await once(source, 'close').catch(() => {})
        await until(
          () =>
            server.requests.every(({ socket }) => socket.destroyed || server.sockets.size === 0) ||
            state === 'waiting',
          () => 'sockets close',
        )
        expect(contexts.every(({ signal }) => signal.aborted)).to.equal(true)
        expect(after).to.deep.equal([])
        expect(server.requests).to.have.length(requests)
        expect(getEventListeners(controller.signal, 'abort')).to.have.length(0)
        if (way === 'destroy()') expect(error).to.equal(undefined)
        if (way === 'destroy(error)') expect(error?.message).to.equal('own')
        if (way === 'the signal') expect(error).to.include({ name: 'AbortError' })
      })
    }
  }

  it('by a signal that is aborted already never calls the factory', async () => {
    let calls = 0
    const source = createResilientSseSource(
      () => {
        calls++
        return (async function* () {})()
      },
      { signal: AbortSignal.abort() },
    )
    const { error } = await drain(source)
    expect(error).to.include({ name: 'AbortError', code: 'ABORT_ERR' })
    expect(calls).to.equal(0)
  })

  it('in the middle of a chunk drops the rest of it', async () => {
    await using server = await serve(stays(wire(1) + wire(2) + wire(3)))
    const source = createResilientSseSource(httpUpstream(server.url), { objectMode: true })
    const seen: (string | undefined)[] = []
    source.on('data', ({ data }) => {
      seen.push(data)
      if (data === 'event 2') source.destroy()
    })
    await once(source, 'close')
    expect(seen).to.deep.equal(['event 1', 'event 2'])
    expect(source.lastEventId).to.equal('2')
  })

  it('in the middle of a chunk drops the whole chunk in byte mode, if no byte was passed on yet', async () => {
    await using server = await serve(stays(`${wire(1)}: stop\n\n${wire(2)}`))
    const source = createResilientSseSource(httpUpstream(server.url))
    const seen: Buffer[] = []
    source.on('data', (chunk) => seen.push(chunk))
    source.on('comment', () => source.destroy())
    await once(source, 'close')
    expect(seen).to.deep.equal([])
  })

  it('by isTerminal closes the socket', async () => {
    await using server = await serve(stays(wire(1, 'end')))
    const source = createResilientSseSource(httpUpstream(server.url), { isTerminal: lastIs('end') })
    await drain(source)
    await until(
      () => server.sockets.size === 0,
      () => 'the socket closes',
    )
  })

  it('from a listener of open, drop or retry takes effect', async () => {
    for (const event of ['open', 'drop', 'retry'] as const) {
      await using server = await serve(ends(wire(1)))
      const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast })
      source.on(event, () => source.destroy())
      source.resume()
      await once(source, 'close')
      expect(server.requests, event).to.have.length(1)
    }
  })

  it('keeps one signal free of listeners over many reconnects', async () => {
    await using server = await serve(ends(wire(1)))
    const controller = new AbortController()
    const source = createResilientSseSource(httpUpstream(server.url), {
      reconnect: { ...fast, maxRetries: 30, maxDelay: 1 },
      signal: controller.signal,
    })
    const listeners = new Set<number>()
    const warnings: Error[] = []
    const warn = (warning: Error) => warnings.push(warning)
    process.on('warning', warn)
    source.on('open', () => listeners.add(getEventListeners(controller.signal, 'abort').length))
    await drain(source)
    process.off('warning', warn)
    expect([...listeners]).to.deep.equal([1])
    expect(getEventListeners(controller.signal, 'abort')).to.have.length(0)
    expect(warnings).to.deep.equal([])
  })
})

const thrower = (error: Error) => (_: unknown) => {
  throw error
}

describe("faults in the caller's functions", () => {
  const own = new Error('own')
  const fault = () => {
    throw own
  }
  const cases: Record<string, (source: ResilientSseSource<Buffer>) => SourceOptions | undefined> = {
    isTerminal: () => ({ isTerminal: fault }),
    cursor: () => ({ cursor: fault }),
    'a data listener': (source) => void source.on('data', fault),
    'an open listener': (source) => void source.on('open', fault),
    'a comment listener': (source) => void source.on('comment', fault),
    "a tracker's identity": () => ({ tracker: new EventTracker({ identity: fault }) }),
  }
  for (const [name, set] of Object.entries(cases)) {
    it(`${name} that throws fails the stream with the same error, and causes no reconnect`, async () => {
      await using server = await serve(stays(': hello\n\n', wire(1)))
      const probe = createResilientSseSource(httpUpstream(server.url))
      const options = set(probe)
      const source = options ? createResilientSseSource(httpUpstream(server.url), options) : probe
      source.resume()
      const [error] = await once(source, 'error')
      expect(error).to.equal(own)
      expect(server.requests).to.have.length(1)
      await until(
        () => server.sockets.size === 0,
        () => 'the socket closes',
      )
    })
  }

  it('are not failures of the upstream, even with an error of this package', async () => {
    const looksLikeOne = new SseError('ERR_SSE_DROPPED', 'not so')
    const breakers: ((source: ResilientSseSource<Buffer>) => void)[] = [
      (source) => source.on('data', (chunk) => thrower(looksLikeOne)(chunk)),
      (source) => source.on('open', thrower(looksLikeOne)),
      (source) => source.on('comment', thrower(looksLikeOne)),
      (source) => source.on('drop', thrower(looksLikeOne)).resume(),
    ]
    for (const attach of breakers) {
      await using server = await serve(ends(': hello\n\n', wire(1)))
      const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast })
      attach(source)
      source.resume()
      const [error] = await once(source, 'error')
      expect(error).to.equal(looksLikeOne)
      expect(server.requests).to.have.length(1)
    }
  })

  for (const event of ['drop', 'retry', 'gap', 'duplicate'] as const) {
    it(`a ${event} listener that throws fails the stream with the same error`, async () => {
      await using server = await serveInTurn(
        ends(event === 'gap' ? 'data: x\n\n' : wire(1)),
        stays(event === 'gap' ? 'data: x\n\n' : wire(1)),
      )
      const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast })
      source.on(event, fault)
      source.resume()
      const [error] = await once(source, 'error')
      expect(error).to.equal(own)
    })
  }

  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    it(`logger.${level} that throws fails the stream with the same error`, async () => {
      const last = level === 'error' ? answers(404) : stays('data: x\n\n')
      await using server = await serveInTurn(ends('data: x\n\n'), last)
      const nothing = () => {}
      const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing, [level]: fault }
      const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast, logger })
      const { error } = await drain(source)
      expect(error).to.equal(own)
      expect(source.state).to.equal('ended')
      // The start of a stream is logged before its first attempt.
      expect(server.requests).to.have.length({ debug: 0, info: 1, warn: 2, error: 2 }[level])
    })
  }

  it('shouldRetry that rejects fails the stream with the same error, and causes no reconnect', async () => {
    await using server = await serve(answers(503, { connection: 'close' }))
    const shouldRetry = () => Promise.reject(own)
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: { ...fast, shouldRetry } })
    const { error } = await drain(source)
    expect(error).to.equal(own)
    expect(server.requests).to.have.length(1)
    await isLeft(server)
  })

  for (const thrown of ['text', 7, null, undefined]) {
    it(`that throw ${JSON.stringify(thrown)}, which is not an Error, fail the stream with an Error whose cause is the thrown value`, async () => {
      await using server = await serve(stays(wire(1)))
      const isTerminal = () => {
        throw thrown
      }
      const { error } = await drain(createResilientSseSource(httpUpstream(server.url), { isTerminal }))
      expect(error).to.be.instanceOf(Error).with.property('message', String(thrown))
      expect(error).to.have.property('cause', thrown)
      await until(
        () => server.sockets.size === 0,
        () => 'the socket closes',
      )
    })
  }
})

describe('the process', () => {
  const prelude = `
    import { createResilientSseSource, httpUpstream } from '${library}'
    const url = process.argv[1]
  `

  it('can exit once the source is destroyed, in each state', async () => {
    await using server = await serve((request, response) => {
      if (request.url === '/dial') return
      if (request.url === '/wait') answers(503)(request, response)
      else stays(wire(1))(request, response)
    })
    const script = `${prelude}
      const make = (path) => createResilientSseSource(httpUpstream(new URL(path, url)), { reconnect: { baseDelay: 60000 } }).resume()
      make('/open').once('data', function () { this.destroy() })
      make('/wait').once('retry', function () { this.destroy() })
      const dial = httpUpstream(new URL('/dial', url))
      const dialling = createResilientSseSource((context) => {
        setImmediate(() => dialling.destroy())
        return dial(context)
      }).resume()
      process.on('exit', () => console.log('exits'))
    `
    expect(await runModule(script, [server.url])).to.include({ code: 0, out: 'exits\n' })
  })

  it('stays while a retry is due', async () => {
    await using server = await serveInTurn(answers(503), stays(wire(1, 'end')))
    const script = `${prelude}
      const source = createResilientSseSource(httpUpstream(url, { agent: false }), {
        objectMode: true, reconnect: { baseDelay: 300, jitter: 0 }, isTerminal: () => true })
      source.on('data', ({ data }) => console.log(data))
    `
    expect(await runModule(script, [server.url])).to.include({ code: 0, out: 'end\n' })
  })
})
