import { mock } from 'node:test'
import { expect } from 'chai'
import {
  createDrain,
  httpUpstream,
  type RelayOptions,
  relayResponse,
  type SseEvent,
} from '../../src/index.ts'
import { answerOf, ask, get, has } from '../support/client.ts'
import { lastIs, wire } from '../support/events.ts'
import { relayTo, settled } from '../support/gateway.ts'
import { answers, freePort, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

/** What an EventSource sends. */
const eventSource = { accept: 'text/event-stream', 'cache-control': 'no-cache' }
const comeBack = /^retry: \d+\n$/

describe('a client that reconnects', () => {
  it('waits for an upstream that starts within headTimeout', async () => {
    await using upstream = await serveInTurn(answers(503), answers(502), stays(wire(1, 'end')))
    await using relay = await relayTo(upstream.url, { isTerminal: lastIs('end') })
    const client = await answerOf(relay.url, eventSource)
    expect(client.status).to.equal(200)
    expect(client.text).to.equal(wire(1, 'end'))
  })

  it('gets 200 and heartbeats after headTimeout, while attempts continue', async () => {
    const port = await freePort()
    await using relay = await relayTo(`http://127.0.0.1:${port}/events`, {
      headTimeout: 30,
      heartbeat: 10,
      reconnect: { baseDelay: 20, maxRetries: Number.POSITIVE_INFINITY },
      isTerminal: lastIs('end'),
    })
    const client = await get(relay.url, eventSource)
    expect(client.status).to.equal(200)
    await has(client, ':\n:\n')
    await using _ = await serve(stays(wire(1, 'end')), port)
    expect(await client.ended).to.equal('end')
    expect(client.text.replaceAll(':\n', '')).to.equal(wire(1, 'end'))
  })

  const transient: Record<string, Parameters<typeof serve>[0]> = {
    'a 503': answers(503),
    'a 429': answers(429),
    'a 408': answers(408),
    'a connection that closes without an answer': (request) => request.socket.destroy(),
    silence: () => {},
    'a stream that drops before its first event': resets(': hello\n'),
  }
  for (const [name, script] of Object.entries(transient)) {
    it(`gets a retry: when ${name} outlasts the retries`, async () => {
      await using upstream = await serve(script)
      const options = {
        connectTimeout: 20,
        reconnect: { baseDelay: 1, minDelay: 1, maxDelay: 1, maxRetries: 2 },
      }
      await using relay = await relayTo(upstream.url, options)
      const client = await answerOf(relay.url, eventSource)
      // A stream that was open may be broken instead: that brings the client back too.
      expect(client.status).to.equal(200)
      if (name.startsWith('a stream')) expect(client.over).to.equal('broken')
      else expect(client.text).to.match(comeBack)
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'failed' })
      expect(relay.summaries[0]?.error).to.include({ code: 'ERR_SSE_RETRIES_EXHAUSTED' })
    })
  }

  for (const [retry, least] of [
    [undefined, 1000],
    [3000, 3000],
    [0, 0],
  ] as const) {
    it(`gets a retry: of ${least} to ${2 * least} ms with retry: ${retry}`, async () => {
      await using upstream = await serve(answers(503))
      await using relay = await relayTo(upstream.url, { reconnect: { maxRetries: 0 }, retry })
      for (const random of [0, 0.5]) {
        mock.method(Math, 'random', () => random)
        const { text } = await answerOf(relay.url, eventSource)
        mock.restoreAll()
        expect(text).to.equal(`retry: ${least + random * least}\n`)
      }
    })
  }

  it("gets a retry: that is not shorter than the upstream's Retry-After", async () => {
    await using upstream = await serve(answers(503, { 'retry-after': '7' }))
    await using relay = await relayTo(upstream.url, { reconnect: { maxRetries: 0 } })
    const client = await answerOf(relay.url, eventSource)
    const [, retry] = /^retry: (\d+)\n$/.exec(client.text) ?? []
    expect(Number(retry)).to.be.within(7000, 14_000)
  })

  it('gets no retry: above maxRetryAfter', async () => {
    await using upstream = await serve(answers(503, { 'retry-after': '9'.repeat(30) }))
    await using relay = await relayTo(upstream.url, { reconnect: { maxRetries: 0, maxRetryAfter: 5000 } })
    const client = await answerOf(relay.url, eventSource)
    const [, retry] = /^retry: (\d+)\n$/.exec(client.text) ?? []
    expect(Number(retry)).to.be.within(5000, 10_000)
  })

  for (const status of [301, 400, 401, 403, 404, 410]) {
    it(`gets a ${status}, which another attempt would not change`, async () => {
      await using upstream = await serve(answers(status))
      await using relay = await relayTo(upstream.url)
      expect((await answerOf(relay.url, eventSource)).status).to.equal(status === 301 ? 502 : status)
      expect(upstream.requests).to.have.length(1)
    })
  }

  it('gets a 204, which stops an EventSource, when the upstream answers 204', async () => {
    await using upstream = await serve(answers(204))
    await using relay = await relayTo(upstream.url)
    expect((await answerOf(relay.url, eventSource)).status).to.equal(204)
  })

  it('gets nothing more after a 204: no transform is started when headTimeout is over', async () => {
    await using upstream = await serve(answers(204))
    let isStarted = false
    const transform = async function* (events: AsyncIterable<SseEvent>) {
      isStarted = true
      yield* events
    }
    await using relay = await relayTo(upstream.url, { headTimeout: 50, transform })
    using time = holdTime()
    expect((await answerOf(relay.url, eventSource)).status).to.equal(204)
    await settled(relay)
    await time.pass(50)
    expect(isStarted).to.equal(false)
  })

  it("may leave before headTimeout: with onClientGone: 'drain' the upstream is read to its end", async () => {
    let answer = () => {}
    await using upstream = await serve((_, response) => {
      answer = () => stream(response, wire(1, 'end'))
    })
    await using relay = await relayTo(upstream.url, {
      headTimeout: 50,
      onClientGone: 'drain',
      isTerminal: lastIs('end'),
    })
    using time = holdTime()
    const client = ask(relay.url, eventSource)
    await until(
      () => upstream.requests.length === 1,
      () => 'a request',
    )
    client.leave()
    await until(
      () => relay.server.sockets.size === 0,
      () => 'the client has left',
    )
    await time.pass(50)
    answer()
    await settled(relay)
    expect(relay.summaries[0]).to.include({ outcome: 'client-gone', lastEventId: '1' })
  })

  it('sees a broken connection when the stream fails after the head', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), answers(503))
    await using relay = await relayTo(upstream.url, {
      reconnect: { baseDelay: 1, minDelay: 1, maxRetries: 1 },
    })
    const client = await answerOf(relay.url, eventSource)
    expect(client).to.include({ status: 200, over: 'broken', text: wire(1) })
  })

  it('is decided by clientReconnects', async () => {
    await using upstream = await serve(answers(503))
    const reconnect = { maxRetries: 0 }
    await using patient = await relayTo(upstream.url, { clientReconnects: true, reconnect })
    expect((await answerOf(patient.url)).text).to.match(comeBack)
    await using other = await relayTo(upstream.url, { clientReconnects: false, reconnect })
    expect((await answerOf(other.url, eventSource)).status).to.equal(503)
  })

  for (const accept of ['application/json', '*/*', undefined]) {
    it(`is not a client that accepts ${accept}: such a client gets a status`, async () => {
      await using upstream = await serve(answers(503))
      await using relay = await relayTo(upstream.url, { reconnect: { maxRetries: 0 } })
      expect((await answerOf(relay.url, accept === undefined ? {} : { accept })).status).to.equal(503)
    })
  }

  it('gets an answer at once when headTimeout is 0', async () => {
    await using upstream = await serve(() => {})
    await using relay = await relayTo(upstream.url, { headTimeout: 0 })
    using time = holdTime()
    const client = await get(relay.url, eventSource)
    expect(client.status).to.equal(200)
    await time.pass(1)
    client.leave()
  })
})

describe('a drain', () => {
  const opened = async (options: RelayOptions, headers: Record<string, string> = {}) => {
    const drain = createDrain()
    const upstream = await serve((_, response) => void stream(response, wire(1)))
    const relay = await relayTo(upstream.url, { ...options, drain })
    const client = await get(relay.url, headers)
    await has(client, wire(1))
    const close = async () => {
      await relay[Symbol.asyncDispose]()
      await upstream.close()
    }
    return { drain, relay, upstream, client, [Symbol.asyncDispose]: close }
  }

  for (const headers of [eventSource, {}]) {
    it(`sends clients a spread retry: and ends their streams: ${JSON.stringify(headers)}`, async () => {
      await using gateway = await opened({}, headers)
      const { drain, client, relay, upstream } = gateway
      expect(drain.size).to.equal(1)
      await drain.start({ spread: 2000 })
      expect(await client.ended).to.equal('end')
      const [, retry] = /event 1\n\nretry: (\d+)\n$/.exec(client.text) ?? []
      expect(Number(retry)).to.be.within(1000, 3000)
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'drained' })
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })
  }

  for (const [options, least, middle] of [
    [{}, 1000, 3000],
    [{ spread: 2000 }, 1000, 2000],
    [{ spread: 0 }, 1000, 1000],
  ] as const) {
    it(`sends clients a retry: from ${least} ms on, and ${middle} ms halfway, with ${JSON.stringify(options)}`, async () => {
      for (const [random, retry] of [
        [0, least],
        [0.5, middle],
      ] as const) {
        await using gateway = await opened({})
        mock.method(Math, 'random', () => random)
        const over = gateway.drain.start(options)
        mock.restoreAll()
        await over
        await gateway.client.ended
        expect(gateway.client.text).to.equal(`${wire(1)}retry: ${retry}\n`)
      }
    })
  }

  for (const [name, options, headers] of [
    ['a stream that must not be asked for again', { resume: 'never' }, eventSource],
    ['a stream that cannot be resumed', { resume: 'before-first-event' }, eventSource],
    ['a program, which would take the end for the end of the stream', {}, { accept: 'application/json' }],
  ] as const) {
    it(`does not end ${name}`, async () => {
      await using gateway = await opened(options, headers)
      const over = gateway.drain.start()
      expect(gateway.drain.isStarted).to.equal(true)
      expect(gateway.client.text).to.equal(wire(1))
      gateway.client.leave()
      await over
      await settled(gateway.relay)
      expect(gateway.relay.summaries[0]).to.include({ outcome: 'client-gone' })
    })
  }

  it('obeys clientReconnects', async () => {
    const program = { accept: 'application/json' }
    await using sent = await opened({ clientReconnects: true }, program)
    await sent.drain.start()
    expect(await sent.client.ended).to.equal('end')
    await using left = await opened({ clientReconnects: false }, eventSource)
    const over = left.drain.start()
    expect(left.client.text).to.equal(wire(1))
    left.client.leave()
    await over
  })

  it('is not kept waiting by a relay that was stopped by its signal before it began', async () => {
    const drain = createDrain()
    const options = { drain, signal: AbortSignal.abort() }
    await relayResponse(new Request('http://gateway.test/'), httpUpstream('http://127.0.0.1:9/'), options)
    expect(drain.size).to.equal(0)
    await drain.start()
  })

  it('ends the streams of clients that connect after its start', async () => {
    const drain = createDrain()
    await using upstream = await serve(stays(wire(1)))
    await using relay = await relayTo(upstream.url, { drain })
    await drain.start()
    const client = await answerOf(relay.url, eventSource)
    expect(client.status).to.equal(200)
    expect(client.text).to.match(comeBack)
  })

  it('ends the response of a client that waits for its head', async () => {
    const drain = createDrain()
    await using upstream = await serve(() => {})
    await using relay = await relayTo(upstream.url, { drain })
    const answer = answerOf(relay.url, eventSource)
    await until(
      () => upstream.requests.length === 1,
      () => 'a request',
    )
    await drain.start()
    expect((await answer).text).to.match(comeBack)
  })

  it('rejects unknown options and wrong values', () => {
    // @ts-expect-error an unknown option
    expect(() => createDrain().start({ over: 5 })).to.throw(TypeError, 'over')
    expect(() => createDrain().start({ spread: -1 })).to.throw(RangeError, 'spread')
  })
})
