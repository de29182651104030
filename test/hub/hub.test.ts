import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import {
  createSseHub,
  httpUpstream,
  type Logger,
  type SharedStreamOptions,
  type SseEvent,
} from '../../src/index.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { lastIs, wire } from '../support/events.ts'
import { dataIn, eventSource, serveHub } from '../support/hub.ts'
import { observeHubs } from '../support/hub-messages.ts'
import { answers, ends, isLeft, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { wrapStore } from '../support/store.ts'
import { until } from '../support/until.ts'

/** The text of a response, until it contains a part. */
async function textUpTo(response: Response, part: string): Promise<string> {
  let text = ''
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  while (reader && !text.includes(part)) {
    const { done, value = '' } = await reader.read()
    if (done) break
    text += value
  }
  await reader?.cancel()
  return text
}

describe('createSseHub', () => {
  it('refuses wrong options, names and factories by name', async () => {
    // @ts-expect-error An unknown option.
    expect(() => createSseHub({ window: 1 })).to.throw(TypeError, 'did you mean windowBytes?')
    expect(() => createSseHub({ lease: 1 })).to.throw(RangeError, 'lease')
    // @ts-expect-error Not a store.
    expect(() => createSseHub({ store: {} })).to.throw(TypeError, 'store')
    const hub = createSseHub()
    const factory = httpUpstream('http://127.0.0.1:1')
    const wrong: readonly [object, string][] = [
      [{ lingr: 1 }, 'did you mean linger?'],
      [{ onClientGone: 'drain' }, 'it belongs to relaySse'],
      [{ lease: 1000 }, 'it belongs to createSseHub'],
      [{ retention: { size: 1 } }, 'retention.size is not an option here'],
      [{ from: 'end' }, 'from'],
      [{ linger: -1 }, 'linger'],
    ]
    for (const [options, message] of wrong) {
      let thrown: unknown
      await hub.start('feed', factory, options).catch((error: unknown) => {
        thrown = error
      })
      expect(String(thrown)).to.include(message)
      expect(() => hub.subscribe('feed', factory, options)).to.throw(message)
    }
    for (const name of ['', 'x'.repeat(513), 'ü'.repeat(257), 7, undefined, null]) {
      // @ts-expect-error A name may be any value at run time.
      expect(() => hub.subscribe(name), String(name)).to.throw(
        TypeError,
        'stream must be a string of 1 to 512',
      )
      let thrown: unknown
      // @ts-expect-error A name may be any value at run time.
      await hub.status(name).catch((error: unknown) => {
        thrown = error
      })
      expect(thrown).to.be.instanceOf(TypeError)
    }
    // @ts-expect-error Not a function.
    expect(() => hub.subscribe('feed', 'http://127.0.0.1:1')).to.throw(TypeError, 'upstream')
    expect(() => hub.close({ drain: -1 })).to.throw(RangeError, 'drain')
    await hub.close()
  })

  it('takes any other string for a name, and keeps streams apart', async () => {
    await using upstream = await serve((request, response) => {
      stream(response, `data: ${request.url}\n\n`)
    })
    const names = [' ', '\n', '😀', '\ud800', '__proto__', 'a:b', '{a}', 'a/b', '%2f', 'ü'.repeat(256)]
    const hub = createSseHub()
    for (const [n, name] of names.entries()) {
      const subscription = hub.subscribe(name, httpUpstream(`${upstream.url}?${n}`), { from: 'start' })
      for await (const chunk of subscription) {
        expect(String(chunk), name).to.include(`data: /events?${n}\n`)
        break
      }
    }
    expect(upstream.requests).to.have.length(names.length)
    await hub.close()
  })

  it('tells a later caller by a warning which options differ from those of the stream', async () => {
    const lines: { fields: object; message: string }[] = []
    const warn = (fields: object, message: string) => lines.push({ fields, message })
    const logger: Logger = { debug() {}, info() {}, warn, error() {} }
    await using upstream = await serve(stays(wire(1)))
    const hub = createSseHub({ logger })
    const factory = httpUpstream(upstream.url)
    const join = (options: SharedStreamOptions) => hub.start('feed', factory, options)
    await join({ keepFor: 1000, reconnect: { baseDelay: 5 }, isTerminal: () => false })
    await join({ keepFor: 1000, reconnect: { baseDelay: 5 }, isTerminal: () => false, from: 'start' })
    expect(lines).to.deep.equal([])
    const isTerminal = () => false
    await join({ keepFor: 2000, reconnect: { baseDelay: 6 }, isTerminal, from: 'start' })
    await join({ keepFor: 2000, isTerminal })
    expect(lines.map(({ message }) => message)).to.deep.equal([
      'options differ from those that the stream was opened with, and are ignored',
    ])
    expect(lines[0]?.fields).to.deep.include({ stream: 'feed', options: ['reconnect', 'keepFor'] })
    await hub.close()
    await isLeft(upstream)
  })

  for (const [which, isFirst] of [
    ['the first caller gives', true],
    ['a later caller gives', false],
  ] as const) {
    it(`tells a later caller by a warning of functions that only ${which}`, async () => {
      using observed = observeHubs()
      await using upstream = await serve(stays(wire(1)))
      const hub = createSseHub()
      const start = (hasFunctions: boolean) => {
        // New functions for each call, as most callers write them.
        const reconnect = { shouldRetry: () => true }
        const functions = { reconnect, identity: () => undefined, transform: (event: SseEvent) => event }
        return hub.start('feed', httpUpstream(upstream.url), hasFunctions ? functions : {})
      }
      await start(isFirst)
      await start(isFirst)
      expect(observed.of('hub-options')).to.deep.equal([])
      await start(!isFirst)
      const [message] = observed.of('hub-options')
      expect(message?.options).to.have.members(['reconnect', 'identity', 'transform'])
      await hub.close()
    })
  }

  it('gives a stream the options of its first caller, whatever later callers say', async () => {
    await using upstream = await serve(stays(wire(1)))
    const hub = createSseHub()
    const factory = httpUpstream(upstream.url)
    const named =
      (which: string) =>
      ({ data }: SseEvent): SseEvent => ({ data: `${which}: ${data}` })
    await hub.start('feed', factory, { transform: named('first') })
    const later = { transform: named('later'), resume: 'before-first-event', maxAge: 1 } as const
    const request = new Request('http://localhost/feed', { headers: { 'last-event-id': 'unknown' } })
    const leaving = new AbortController()
    // With the resume of the later caller it would be 410.
    const response = await hub.respond(request, 'feed', factory, { ...later, signal: leaving.signal })
    expect(response.status).to.equal(200)
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('\n\n')) text += (await reader?.read())?.value ?? ''
    expect(text).to.include('data: first: event 1\n')
    leaving.abort()
    await reader?.read().catch(() => {})
    await hub.close()
    await isLeft(upstream)
  })

  it('rejects with an error of the caller, and leaves a response without a head unchanged', async () => {
    await using feed = await serveHub(() => {
      throw new ReferenceError('a fault in the factory')
    })
    const answer = await answerOf(feed.url, eventSource)
    expect(answer.status).to.equal(500)
    expect(String(feed.faults[0])).to.include('a fault in the factory')
  })

  it('breaks the responses of all clients when the transform throws', async () => {
    await using upstream = await serve(stays(wire(1), wire(2)))
    await using feed = await serveHub(upstream.url, {
      from: 'start',
      transform: ({ data }: SseEvent) => {
        if (data === 'event 2') throw new Error('a fault in the transform')
        return { data }
      },
    })
    const clients = await Promise.all([answerOf(feed.url), answerOf(feed.url)])
    for (const client of clients) {
      expect(client.over).to.equal('broken')
      expect(dataIn(client)).to.deep.equal(['event 1'])
    }
    await until(
      () => feed.faults.length === 2,
      () => `${feed.faults.length} faults`,
    )
    await isLeft(upstream)
  })

  for (const [name, transform] of Object.entries({
    none: undefined,
    function: (event: SseEvent) => event,
    async *generator(events: AsyncIterable<SseEvent>) {
      yield* events
    },
  })) {
    it(`pauses the upstream while the store is slow, and loses no event, with the transform ${name}`, async () => {
      const events = 100
      await using upstream = await serve(
        ends(
          ...Array.from({ length: events }, (_, n) => wire(n, `${n} ${'x'.repeat(65_000)}`)),
          wire('last', 'end'),
        ),
      )
      const slow = wrapStore((store) => ({
        append: async (...args) => {
          await nextTurn()
          return store.append(...args)
        },
      }))
      const retention = { bytes: 16 * 1024 * 1024 }
      const options = {
        transform,
        retention,
        from: 'start' as const,
        isTerminal: lastIs('end'),
        hub: { store: slow },
      }
      await using feed = await serveHub(upstream.url, options)
      const client = await answerOf(feed.url)
      expect(dataIn(client).map((data) => data.split(' ')[0])).to.deep.equal([
        ...Array.from({ length: events }, (_, n) => String(n)),
        'end',
      ])
    })
  }

  it('rejects when middleware of the response throws while the head is sent', async () => {
    await using upstream = await serve(stays(wire(1)))
    const hub = createSseHub()
    const faults: unknown[] = []
    await using server = await serve((req, res) => {
      res.flushHeaders = () => {
        throw new Error('a fault in the middleware')
      }
      hub.relay(req, res, 'feed', httpUpstream(upstream.url), { head: 'eager' }).catch((fault: unknown) => {
        faults.push(fault)
        res.destroy()
      })
    })
    await answerOf(server.url)
    expect(String(faults[0])).to.include('a fault in the middleware')
    await hub.close()
  })

  it('answers requests of the fetch API', async () => {
    await using upstream = await serve(stays(wire(1)))
    const hub = createSseHub()
    const factory = httpUpstream(upstream.url)
    const respond = (headers: Record<string, string> = {}, signal?: AbortSignal) =>
      hub.respond(new Request('http://a/', { headers, ...(signal && { signal }) }), 'feed', factory, {
        from: 'start',
        linger: 0,
      })
    const [one, two] = await Promise.all([respond(), respond(eventSource)])
    expect(one.headers.get('content-type')).to.equal('text/event-stream')
    expect(await textUpTo(one, 'event 1')).to.match(/^id: \d+-1\/1\ndata: event 1\n\n$/)
    expect(await textUpTo(two, 'event 1')).to.match(/^id: \d+-0\n\nid: \d+-1\/1\ndata: event 1\n\n$/)
    await isLeft(upstream)
    expect(upstream.requests).to.have.length(1)
    const aborted = new AbortController()
    aborted.abort()
    expect((await respond({}, aborted.signal)).status).to.equal(499)
    await hub.close()
    expect((await respond({ accept: 'application/json' })).status).to.equal(503)
  })

  it('answers a fetch request with the refusal of the upstream', async () => {
    await using upstream = await serve(answers(403))
    const hub = createSseHub()
    const response = await hub.respond(new Request('http://a/'), 'feed', httpUpstream(upstream.url))
    expect(response.status).to.equal(403)
    await hub.close()
  })

  it('sends an upstream fewer requests than one for each client also when its answers come late', async () => {
    await using upstream = await serveInTurn((_, response) => {
      setImmediate(() => stream(response, wire(1)))
    })
    await using feed = await serveHub(upstream.url, { from: 'start' })
    const clients = Array.from({ length: 50 }, () => ask(feed.url))
    for (const client of clients) await has(client, 'event 1')
    expect(upstream.requests).to.have.length(1)
    for (const client of clients) client.leave()
  })
})
