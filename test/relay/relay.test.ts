import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import {
  httpUpstream,
  type RelayOptions,
  type RelaySummary,
  relayResponse,
  relaySse,
  SseError,
  type UpstreamContext,
  type UpstreamFactory,
} from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import {
  answers,
  ends,
  flood,
  freePort,
  resets,
  serve,
  serveInTurn,
  settledBytes,
  stays,
  stream,
  type TestServer,
} from '../support/server.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

interface Gateway extends AsyncDisposable {
  readonly server: TestServer
  /** How the relays ended, in that order. */
  readonly summaries: RelaySummary[]
  /** What the relays rejected with. */
  readonly faults: unknown[]
}

/** A raw http server that relays. */
async function gateway(upstream: string | UpstreamFactory, options: RelayOptions = {}): Promise<Gateway> {
  const summaries: RelaySummary[] = []
  const faults: unknown[] = []
  const factory = typeof upstream === 'string' ? httpUpstream(upstream) : upstream
  const server = await serve((req, res) => {
    relaySse(req, res, factory, { reconnect: fast, ...options }).then(
      (summary) => summaries.push(summary),
      (fault: unknown) => {
        faults.push(fault)
        if (!res.headersSent) res.writeHead(500).end('fault')
      },
    )
  })
  return { server, summaries, faults, [Symbol.asyncDispose]: server.close }
}

function urlOf(server: https.Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return `https://127.0.0.1:${address.port}/`
}

/** Waits until one more relay has come to its end. */
function settled({ summaries, faults }: Gateway): Promise<void> {
  return until(
    () => summaries.length + faults.length > 0,
    () => 'the relay settles',
  )
}

interface Client {
  readonly response: IncomingMessage
  readonly text: string
  /** Resolves with 'end' or the error's code. */
  readonly over: Promise<string>
  leave(): void
}

/** A client that keeps what it gets. */
async function get(url: string, headers: http.OutgoingHttpHeaders = {}): Promise<Client> {
  const request = http.get(url, { headers, agent: false })
  const over = new Promise<string>((resolve) => {
    request.on('error', ({ message }) => resolve(message))
    request.on('response', (response) => {
      response.on('end', () => resolve('end'))
      response.on('error', ({ message }) => resolve(message))
    })
  })
  const [response]: IncomingMessage[] = await once(request, 'response')
  if (!response) throw new Error('no response')
  let text = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return {
    response,
    get text() {
      return text
    },
    over,
    leave: () => request.destroy(),
  }
}

describe('relaySse', () => {
  it('writes the head and the events, and ends with the stream', async () => {
    await using upstream = await serve(stays(wire(1), wire(2, 'end')))
    await using relay = await gateway(upstream.url, { isTerminal: lastIs('end') })
    const client = await get(relay.server.url)
    expect(await client.over).to.equal('end')
    expect(client.response.statusCode).to.equal(200)
    expect(client.response.headers).to.include({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(client.text).to.equal(wire(1) + wire(2, 'end'))
    await settled(relay)
    expect(relay.summaries[0]).to.include({ outcome: 'ended', error: undefined, lastEventId: '2' })
    expect(relay.summaries[0]?.stats).to.include({ events: 2 })
  })

  it("keeps the client's connection over drops, without gap or repeat", async () => {
    await using upstream = await serveInTurn(
      resets(wire(1), wire(2), 'id: 3\nda'),
      answers(503),
      ends(wire(2) + wire(3)),
      stays(wire(4, 'end')),
    )
    await using relay = await gateway(upstream.url, { isTerminal: lastIs('end') })
    const client = await get(relay.server.url)
    expect(await client.over).to.equal('end')
    expect(client.text).to.equal(wire(1) + wire(2) + wire(3) + wire(4, 'end'))
  })

  it("starts from the client's Last-Event-ID, in the header or the query", async () => {
    await using upstream = await serve(stays(wire(9, 'end')))
    await using relay = await gateway(upstream.url, { isTerminal: lastIs('end') })
    const id = Buffer.from('日本').toString('latin1')
    await (await get(relay.server.url, { 'last-event-id': id })).over
    await (await get(`${relay.server.url}?lastEventId=7`)).over
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([id, '7'])
  })

  describe("head: 'lazy'", () => {
    for (const [status, headers] of [
      [401, { 'www-authenticate': 'Bearer' }],
      [404, {}],
      [429, { 'retry-after': '60' }],
      [503, { 'retry-after': '30', 'x-internal': 'secret' }],
    ] as const) {
      it(`gives a first ${status} to the client, with what it needs to act on it`, async () => {
        await using upstream = await serve(answers(status, headers, 'internal details'))
        await using relay = await gateway(upstream.url)
        const client = await get(relay.server.url)
        await client.over
        expect(client.response.statusCode).to.equal(status)
        const { 'x-internal': _, ...passed } = { 'x-internal': '', ...headers }
        expect(client.response.headers).to.include(passed).and.to.not.have.property('x-internal')
        expect(client.text).to.equal(`${status} ${http.STATUS_CODES[status]}\n`)
        expect(client.response.headers['content-type']).to.match(/^text\/plain/)
        await settled(relay)
        expect(relay.summaries[0]).to.include({ outcome: 'refused' })
        expect(relay.summaries[0]?.error).to.be.instanceOf(SseError)
      })
    }

    it('answers 502 when nobody listens, once the next attempt would come too late', async () => {
      const delays: unknown[] = []
      const onRetry = (message: unknown) => delays.push(Object(message).delay)
      subscribe('resilient-sse:retry', onRetry)
      await using relay = await gateway(`http://127.0.0.1:${await freePort()}/`, {
        headTimeout: 50,
        reconnect: { baseDelay: 20, jitter: 0 },
      })
      using time = holdTime()
      const answer = get(relay.server.url)
      await until(
        () => delays.length === 1,
        () => 'the first retry',
      )
      // The one after this would come 60 ms after the start.
      await time.pass(20)
      const client = await answer
      expect(client.response.statusCode).to.equal(502)
      await client.over
      await settled(relay)
      unsubscribe('resilient-sse:retry', onRetry)
      expect(delays[0]).to.equal(20)
      expect(relay.summaries[0]?.stats.attempts).to.equal(2)
    })

    it('answers 504 when the upstream gives no answer', async () => {
      await using upstream = await serve(() => {})
      await using relay = await gateway(upstream.url, { connectTimeout: 200, headTimeout: 0 })
      const client = await get(relay.server.url)
      expect(client.response.statusCode).to.equal(504)
      expect(upstream.requests).to.have.length(1)
    })

    it('answers 502 to a page that is no event stream', async () => {
      await using upstream = await serve(answers(200, { 'content-type': 'text/html' }))
      await using relay = await gateway(upstream.url)
      expect((await get(relay.server.url)).response.statusCode).to.equal(502)
    })

    it('passes a first 204 on', async () => {
      await using upstream = await serve(answers(204))
      await using relay = await gateway(upstream.url)
      const client = await get(relay.server.url)
      expect(client.response.statusCode).to.equal(204)
      await client.over
      expect(client.response.headers).to.not.have.property('content-type')
    })

    it('retries what can be retried within headTimeout', async () => {
      await using upstream = await serveInTurn(answers(503), answers(502), stays(wire(1, 'end')))
      await using relay = await gateway(upstream.url, { isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      expect(client.response.statusCode).to.equal(200)
      await client.over
      expect(client.text).to.equal(wire(1, 'end'))
    })

    it('waits with the head until the upstream has answered', async () => {
      let answer = () => {}
      await using upstream = await serve((_, response) => {
        answer = () => stream(response, wire(1, 'end'))
      })
      await using relay = await gateway(upstream.url, { heartbeat: 5, isTerminal: lastIs('end') })
      let downstream: ServerResponse | undefined
      relay.server.server.on('request', (_, response) => {
        downstream = response
      })
      using time = holdTime()
      const client = get(relay.server.url)
      await until(
        () => upstream.requests.length === 1,
        () => 'a request',
      )
      await time.pass(50)
      expect(downstream?.headersSent).to.equal(false)
      answer()
      expect((await client).response.statusCode).to.equal(200)
      await (await client).over
    })
  })

  describe("head: 'eager'", () => {
    it('answers at once, and sends heartbeats while it dials', async () => {
      await using upstream = await serve(() => {})
      await using relay = await gateway(upstream.url, { head: 'eager', heartbeat: 5 })
      const client = await get(relay.server.url)
      expect(client.response.statusCode).to.equal(200)
      await until(
        () => client.text.length > 10,
        () => 'heartbeats',
      )
      expect(client.text).to.match(/^(: \n\n)+$/)
      client.leave()
      await until(
        () => upstream.requests[0]?.socket.destroyed === true,
        () => 'the upstream closes',
      )
    })

    it('lets the client see a refusal by destroying its connection', async () => {
      await using upstream = await serve(answers(404))
      await using relay = await gateway(upstream.url, { head: 'eager' })
      const client = await get(relay.server.url)
      expect(client.response.statusCode).to.equal(200)
      expect(await client.over).to.equal('aborted')
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'failed' })
    })
  })

  describe('in the stream', () => {
    it('sends heartbeats while the upstream is silent or away, between events only', async () => {
      await using upstream = await serveInTurn(resets(wire(1), 'id: 2\ndata: ha'), stays(wire(2)))
      await using relay = await gateway(upstream.url, { heartbeat: 5, reconnect: { baseDelay: 60 } })
      const client = await get(relay.server.url)
      await until(
        () => /event 2\n\n(: \n\n){3}/.test(client.text),
        () => client.text,
      )
      expect(client.text).to.match(/event 1\n\n(: \n\n)+id: 2\ndata: event 2\n\n(: \n\n)+$/)
      client.leave()
    })

    it('sends none with heartbeat 0', async () => {
      let write = (_: string) => {}
      await using upstream = await serve((_, response) => {
        stream(response, wire(1))
        write = (text) => response.write(text)
      })
      await using relay = await gateway(upstream.url, { heartbeat: 0, idleTimeout: 0 })
      using time = holdTime()
      const client = await get(relay.server.url)
      await until(
        () => client.text !== '',
        () => 'an event',
      )
      // Four times the default.
      await time.pass(60_000)
      write(wire(2))
      await until(
        () => client.text.includes('event 2'),
        () => client.text,
      )
      expect(client.text).to.equal(wire(1) + wire(2))
      client.leave()
    })

    it("tells the client's reconnection time, and keeps the upstream's", async () => {
      await using upstream = await serve(stays('retry: 5\n\n', wire(1, 'end')))
      await using relay = await gateway(upstream.url, { retry: 2500, isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      await client.over
      expect(client.text).to.equal(`retry: 2500\n\n${wire(1, 'end')}`)
    })

    it('tells the status when asked to, in events without ids', async () => {
      await using upstream = await serveInTurn(resets('data: a\n\n'), answers(503), stays('data: end\n\n'))
      await using relay = await gateway(upstream.url, { statusEvents: true, isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      await client.over
      const status = (name: string) => `event: relay-status\ndata: {"status":"${name}"}\n\n`
      expect(client.text).to.equal(
        `data: a\n\n${status('reconnecting')}${status('live')}${status('gap')}data: end\n\n`,
      )
    })

    const failures: [
      name: string,
      scripts: [http.RequestListener, ...http.RequestListener[]],
      options: RelayOptions,
      code: string,
    ][] = [
      [
        'exhausted retries',
        [ends(wire(1)), answers(503)],
        { reconnect: { ...fast, maxRetries: 2 } },
        'ERR_SSE_RETRIES_EXHAUSTED',
      ],
      [
        'a stream that cannot be resumed',
        [resets(wire(1))],
        { resume: 'before-first-event' },
        'ERR_SSE_NOT_RESUMABLE',
      ],
      [
        'an event that is too large',
        [stays(wire(1), 'x'.repeat(2000))],
        { maxEventSize: 1000 },
        'ERR_SSE_EVENT_TOO_LARGE',
      ],
    ]
    for (const [name, scripts, options, code] of failures) {
      it(`shows ${name} as a broken connection`, async () => {
        await using upstream = await serveInTurn(...scripts)
        await using relay = await gateway(upstream.url, options)
        const client = await get(relay.server.url)
        expect(await client.over).to.equal('aborted')
        expect(client.text).to.equal(wire(1))
        await settled(relay)
        expect(relay.summaries[0]).to.include({ outcome: 'failed' })
        expect(relay.summaries[0]?.error).to.include({ code })
      })

      it(`shows ${name} as an event, where errorEvent gives one`, async () => {
        await using upstream = await serveInTurn(...scripts)
        const errorEvent = (error: Error) => ({
          event: 'error',
          data: error instanceof SseError ? error.code : '',
        })
        await using relay = await gateway(upstream.url, { ...options, errorEvent })
        const client = await get(relay.server.url)
        expect(await client.over).to.equal('end')
        expect(client.text).to.equal(`${wire(1)}event: error\ndata: ${code}\n\n`)
        await settled(relay)
        expect(relay.summaries[0]).to.include({ outcome: 'failed' })
      })
    }
  })

  describe('when the client leaves', () => {
    const states: Record<
      string,
      { script: http.RequestListener; options: RelayOptions; reached(text: string): boolean }
    > = {
      dialling: {
        script: () => {},
        options: { head: 'eager', heartbeat: 5 },
        reached: (text) => text !== '',
      },
      waiting: {
        script: answers(503),
        options: { head: 'eager', heartbeat: 5, reconnect: { baseDelay: 60_000 } },
        reached: (text) => text !== '',
      },
      streaming: { script: stays(wire(1)), options: {}, reached: (text) => text.includes('event 1') },
    }
    for (const [state, { script, options, reached }] of Object.entries(states)) {
      // What would end them otherwise, a retry or a timeout, takes longer than anybody waits here.
      it(`while ${state}, the upstream is closed`, async () => {
        await using upstream = await serve(script)
        await using relay = await gateway(upstream.url, options)
        const client = await get(relay.server.url)
        await until(
          () => reached(client.text),
          () => client.text,
        )
        client.leave()
        await until(
          () => relay.summaries.length === 1 && (state === 'waiting' || upstream.sockets.size === 0),
          () => 'the upstream closes',
        )
        expect(relay.summaries[0]).to.include({ outcome: 'client-gone', error: undefined })
      })
    }

    it('while backpressured, the upstream is closed', async () => {
      await using upstream = await serve((_, response) => flood(response))
      await using relay = await gateway(upstream.url)
      const request = http.get(relay.server.url, { agent: false }).on('error', () => {})
      const [response]: IncomingMessage[] = await once(request, 'response')
      response?.on('error', () => {})
      // Nobody reads the response: what its upstream sends stays bounded.
      const written = await settledBytes(upstream.requests[0]?.socket)
      expect(written).to.be.below(32 * 1024 * 1024)
      request.destroy()
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })

    it('while it does not read, it is written 64 KiB more than it has room for, and the chunk with which that is reached', async () => {
      await using upstream = await serve((_, response) => flood(response))
      let downstream: ServerResponse | undefined
      await using server = await serve((req, res) => {
        downstream = res
        relaySse(req, res, httpUpstream(upstream.url))
      })
      const request = http.get(server.url, { agent: false }).on('error', () => {})
      const [response]: IncomingMessage[] = await once(request, 'response')
      response?.on('error', () => {})
      await until(
        () => (downstream?.writableLength ?? 0) >= 65_536,
        () => `${downstream?.writableLength} bytes wait for the client`,
      )
      await settledBytes(upstream.requests[0]?.socket)
      const mostOfAChunk = 65_536
      const room = downstream?.writableHighWaterMark ?? 0
      expect(downstream?.writableLength).to.be.most(room + 65_536 + mostOfAChunk)
      request.destroy()
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })

    it('is not needed for the others: a client that does not read leaves them unaffected', async () => {
      await using upstream = await serve((_, response) => flood(response))
      await using relay = await gateway(upstream.url)
      const stalled = http.get(relay.server.url, { agent: false }).on('error', () => {})
      const [response]: IncomingMessage[] = await once(stalled, 'response')
      response?.on('error', () => {})
      const client = await get(relay.server.url)
      await until(
        () => client.text.length > 5_000_000,
        () => `${client.text.length} characters`,
      )
      client.leave()
      stalled.destroy()
    })

    it('before it was relayed, the factory is not called', async () => {
      let calls = 0
      let summary: RelaySummary | undefined
      await using server = await serve(async (req, res) => {
        await once(res, 'close')
        summary = await relaySse(req, res, () => {
          calls++
          return (async function* () {})()
        })
      })
      const request = http.get(server.url, { agent: false }).on('error', () => {})
      await until(
        () => server.requests.length === 1,
        () => 'the request',
      )
      request.destroy()
      await until(
        () => summary !== undefined,
        () => 'the summary',
      )
      expect(summary).to.include({ outcome: 'client-gone' })
      expect(calls).to.equal(0)
    })

    for (const onClientGone of ['abort', 'drain'] as const) {
      it(`with onClientGone: '${onClientGone}' a client that left before the relay began is no fault`, async () => {
        const ended: Promise<unknown>[] = []
        await using server = await serve((req, res) => {
          req.socket.once('close', () => {
            const factory = () => Promise.reject(new Error('away'))
            const reconnect = { ...fast, maxRetries: 1 }
            ended.push(relaySse(req, res, factory, { onClientGone, reconnect }))
          })
          req.socket.destroy()
        })
        http.get(server.url, { agent: false }).on('error', () => {})
        await until(
          () => ended.length === 1,
          () => 'a relay',
        )
        expect(await ended[0]).to.include({ outcome: 'client-gone' })
      })
    }

    it("with onClientGone: 'drain' the upstream is read to its end", async () => {
      let finish = () => {}
      await using upstream = await serve((_, response) => {
        stream(response, wire(1))
        finish = () => response.write(wire(2, 'end'))
      })
      await using relay = await gateway(upstream.url, { onClientGone: 'drain', isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      await until(
        () => client.text !== '',
        () => 'an event',
      )
      client.leave()
      await until(
        () => relay.server.sockets.size === 0,
        () => 'the client is gone',
      )
      expect(relay.summaries).to.have.length(0)
      finish()
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'client-gone', lastEventId: '2' })
    })
  })

  describe("faults in the caller's functions", () => {
    const own = new Error('own')
    const fault = () => {
      throw own
    }

    it('reject, and leave the response to the caller as long as the head is not out', async () => {
      // @ts-expect-error what a factory without types may give
      await using relay = await gateway(() => ({}))
      const client = await get(relay.server.url)
      expect(client.response.statusCode).to.equal(500)
      await settled(relay)
      expect(relay.faults[0]).to.be.instanceOf(TypeError)
    })

    for (const options of [{ isTerminal: fault }, { cursor: fault }]) {
      it(`reject, and break the connection, once it is out: ${Object.keys(options)[0]}`, async () => {
        await using upstream = await serve(stays(wire(1)))
        await using relay = await gateway(upstream.url, options)
        const client = await get(relay.server.url)
        expect(await client.over).to.equal('aborted')
        await settled(relay)
        expect(relay.faults).to.deep.equal([own])
      })
    }

    it('reject, and break the connection: errorEvent', async () => {
      await using upstream = await serve(stays(wire(1), 'x'.repeat(2000)))
      await using relay = await gateway(upstream.url, { maxEventSize: 1000, errorEvent: fault })
      const client = await get(relay.server.url)
      expect(await client.over).to.equal('aborted')
      await settled(relay)
      expect(relay.faults).to.deep.equal([own])
    })

    it('are named when they are wrong options', async () => {
      for (const [options, name] of [
        [{ heartbeat: -1 }, 'heartbeat'],
        [{ retry: Number.NaN }, 'retry'],
        [{ headTimeout: 1e12 }, 'headTimeout'],
        [{ head: 'soon' }, 'head'],
        [{ onClientGone: 'wait' }, 'onClientGone'],
        [{ errorEvent: 1 }, 'errorEvent'],
        [{ statusEvents: 1 }, 'statusEvents'],
        [{ idleTimeout: -1 }, 'idleTimeout'],
      ] as const) {
        // @ts-expect-error what a caller without types may give
        await using relay = await gateway('http://127.0.0.1:9/', options)
        expect((await get(relay.server.url)).response.statusCode).to.equal(500)
        await settled(relay)
        expect(relay.faults[0], name)
          .to.be.instanceOf(Error)
          .with.property('message')
          .that.matches(new RegExp(`^${name} `))
      }
    })
  })

  it('is stopped by its signal', async () => {
    await using upstream = await serve(stays(wire(1)))
    const controller = new AbortController()
    await using relay = await gateway(upstream.url, { signal: controller.signal })
    const client = await get(relay.server.url)
    controller.abort()
    expect(await client.over).to.equal('aborted')
    await settled(relay)
    expect(relay.summaries[0]).to.include({ outcome: 'failed' })
  })

  it('speaks https, to the client and to the upstream', async () => {
    const upstream = https.createServer(certificate, stays(wire(1, 'end')))
    const summaries: RelaySummary[] = []
    const factory = (context: UpstreamContext) =>
      httpUpstream(urlOf(upstream), { ca: certificate.cert })(context)
    const server = https.createServer(certificate, async (req, res) => {
      summaries.push(await relaySse(req, res, factory, { isTerminal: lastIs('end') }))
    })
    for (const each of [upstream, server]) await once(each.listen(0, '127.0.0.1'), 'listening')
    const request = https.get(urlOf(server), { ca: certificate.cert, agent: false })
    const [response]: IncomingMessage[] = await once(request, 'response')
    let text = ''
    for await (const chunk of response ?? []) text += chunk
    expect(text).to.equal(wire(1, 'end'))
    expect(summaries[0]).to.include({ outcome: 'ended' })
    for (const each of [upstream, server]) {
      each.closeAllConnections()
      each.close()
      await once(each, 'close')
    }
  })

  it('speaks http2', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2)))
    const summaries: RelaySummary[] = []
    const server = http2.createServer(async (req, res) => {
      summaries.push(await relaySse(req, res, httpUpstream(upstream.url), { reconnect: fast }))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('not listening')
    const session = http2.connect(`http://127.0.0.1:${address.port}`)
    const request = session.request({ ':path': '/', 'last-event-id': '0' })
    const [head] = await once(request, 'response')
    expect(head[':status']).to.equal(200)
    expect(head['content-type']).to.equal('text/event-stream')
    let text = ''
    request.on('error', () => {})
    request.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
    await until(
      () => text.includes('event 2'),
      () => text,
    )
    expect(text).to.equal(wire(1) + wire(2))
    request.close(http2.constants.NGHTTP2_CANCEL)
    await until(
      () => summaries.length === 1 && upstream.sockets.size === 0,
      () => 'the upstream closes',
    )
    expect(summaries[0]).to.include({ outcome: 'client-gone' })
    session.close()
    server.close()
    await once(server, 'close')
  })
})

describe('relayResponse', () => {
  it('is a 200 whose body survives drops', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2, 'end')))
    const response = relayResponse(
      new Request('http://gateway.test/', { headers: { 'last-event-id': '0' } }),
      httpUpstream(upstream.url),
      { reconnect: fast, isTerminal: lastIs('end') },
    )
    expect(response.status).to.equal(200)
    expect(response.headers.get('content-type')).to.equal('text/event-stream')
    expect(await response.text()).to.equal(wire(1) + wire(2, 'end'))
    expect(upstream.requests[0]?.headers['last-event-id']).to.equal('0')
  })

  for (const how of ['the body is cancelled', "the request's signal is aborted"] as const) {
    it(`closes the upstream when ${how}`, async () => {
      await using upstream = await serve(stays(wire(1)))
      const controller = new AbortController()
      const request = new Request('http://gateway.test/', { signal: controller.signal })
      let summary: RelaySummary | undefined
      const response = relayResponse(request, httpUpstream(upstream.url), {}, (_, ended) => {
        summary = ended
      })
      const reader = response.body?.getReader()
      await reader?.read()
      if (how === 'the body is cancelled') await reader?.cancel()
      else controller.abort()
      await until(
        () => summary !== undefined && upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
      expect(summary).to.include({ outcome: 'client-gone' })
      await reader?.closed.catch(() => {})
    })
  }

  it('calls no factory for a request that is aborted already', async () => {
    const request = new Request('http://gateway.test/', { signal: AbortSignal.abort() })
    let calls = 0
    let summary: RelaySummary | undefined
    const factory = () => {
      calls++
      return (async function* () {})()
    }
    const response = relayResponse(request, factory, {}, (_, ended) => {
      summary = ended
    })
    await until(
      () => summary !== undefined,
      () => 'the summary',
    )
    expect(summary).to.include({ outcome: 'client-gone' })
    expect(calls).to.equal(0)
    await response.text().catch(() => {})
  })

  it('stops the upstream when nobody reads the body', async () => {
    await using upstream = await serve((_, response) => flood(response))
    const response = relayResponse(new Request('http://gateway.test/'), httpUpstream(upstream.url))
    await until(
      () => (upstream.requests[0]?.socket.bytesWritten ?? 0) > 100_000,
      () => 'the flood begins',
    )
    expect(await settledBytes(upstream.requests[0]?.socket)).to.be.below(16 * 1024 * 1024)
    await response.body?.cancel()
  })

  it('loses nothing of its end to a heartbeat, however late it is read', async () => {
    const size = new PassThrough().readableHighWaterMark - 1000
    const options = { heartbeat: 1, isTerminal: lastIs('end') }
    // Which of these ends while something still waits to be read depends on buffers that are not ours.
    for (const count of [2, 3, 4, 5, 6, 7, 8]) {
      const chunks = Array.from({ length: count }, (_, n) =>
        wire(n, n === count - 1 ? 'end' : 'x'.repeat(size)),
      )
      const source = async function* () {
        yield* chunks
      }
      const response = relayResponse(new Request('http://gateway.test/'), source, options)
      // Many heartbeats' time, in which nobody reads.
      await sleep(20)
      expect((await response.text()).replaceAll(': \n\n', ''), `${count} chunks`).to.equal(chunks.join(''))
    }
  })

  it('breaks the body when the stream fails', async () => {
    await using upstream = await serveInTurn(ends(wire(1)), answers(404))
    const response = relayResponse(new Request('http://gateway.test/'), httpUpstream(upstream.url), {
      reconnect: fast,
    })
    const broken = await response.text().then(
      () => false,
      () => true,
    )
    expect(broken).to.equal(true)
  })
})
