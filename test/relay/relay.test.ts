import { once } from 'node:events'
import type http from 'node:http'
import type { IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { Readable, Writable } from 'node:stream'
import { expect } from 'chai'
import {
  httpUpstream,
  type RelayOptions,
  type RelaySummary,
  relaySse,
  SseError,
  type UpstreamContext,
} from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { get } from '../support/client.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { relayTo, settled } from '../support/gateway.ts'
import { answers, ends, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

function urlOf(server: https.Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return `https://127.0.0.1:${address.port}/`
}

describe('relaySse', () => {
  it('writes the head and the events, and ends with the stream', async () => {
    await using upstream = await serve(stays(wire(1), wire(2, 'end')))
    await using relay = await relayTo(upstream.url, { isTerminal: lastIs('end') })
    const client = await get(relay.server.url)
    expect(await client.ended).to.equal('end')
    expect(client.status).to.equal(200)
    expect(client.headers).to.include({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(client.text).to.equal(wire(1) + wire(2, 'end'))
    await settled(relay)
    expect(relay.summaries[0]).to.include({ outcome: 'ended', error: undefined, lastEventId: '2' })
    expect(relay.summaries[0]?.stats).to.include({ events: 2 })
  })

  it("keeps the client's connection over drops, without lost or repeated events", async () => {
    await using upstream = await serveInTurn(
      resets(wire(1), wire(2), 'id: 3\nda'),
      answers(503),
      ends(wire(2) + wire(3)),
      stays(wire(4, 'end')),
    )
    await using relay = await relayTo(upstream.url, { isTerminal: lastIs('end') })
    const client = await get(relay.server.url)
    expect(await client.ended).to.equal('end')
    expect(client.text).to.equal(wire(1) + wire(2) + wire(3) + wire(4, 'end'))
  })

  for (const { fastPath, most, first } of [
    { fastPath: false, most: 5, first: 'connection.ts' },
    { fastPath: true, most: 8, first: 'direct-body.ts' },
  ]) {
    it(`calls at most ${most} functions of its own between a chunk's arrival and its write with fastPath: ${fastPath}`, async () => {
      await using upstream = await serve(ends(wire(1)))
      const stacks: string[] = []
      await using gateway = await serve((req, res) => {
        const write = res.write.bind(res)
        const observed: (chunk: string | Uint8Array) => boolean = (chunk) => {
          stacks.push(new Error('written').stack ?? '')
          return write(chunk)
        }
        relaySse(req, Object.assign(res, { write: observed }), httpUpstream(upstream.url), {
          reconnect: { ...fast, maxRetries: 0 },
          fastPath,
        })
      })
      const { stackTraceLimit } = Error
      Error.stackTraceLimit = 50
      try {
        const client = await get(gateway.url)
        await client.ended
        expect(client.text).to.equal(wire(1))
      } finally {
        Error.stackTraceLimit = stackTraceLimit
      }
      expect(stacks).to.have.length(1)
      const own = (stacks[0] ?? '').split('\n').filter((line) => /[/\\]src[/\\]/.test(line))
      expect(own.length, stacks[0]).to.be.within(3, most)
      expect(own.at(-1)).to.include(first)
    })
  }

  it("starts from the client's Last-Event-ID, in the header or the query", async () => {
    await using upstream = await serve(stays(wire(9, 'end')))
    await using relay = await relayTo(upstream.url, { isTerminal: lastIs('end') })
    const id = Buffer.from('日本').toString('latin1')
    await (await get(relay.server.url, { 'last-event-id': id })).ended
    await (await get(`${relay.server.url}?lastEventId=7`)).ended
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([id, '7'])
  })

  describe('in the stream', () => {
    it('sends heartbeats while the upstream is silent or away, between events only', async () => {
      await using upstream = await serveInTurn(resets(wire(1), 'id: 2\ndata: ha'), stays(wire(2)))
      await using relay = await relayTo(upstream.url, { heartbeat: 5, reconnect: { baseDelay: 60 } })
      const client = await get(relay.server.url)
      await until(
        () => /event 2\n\n(:\n){3}/.test(client.text),
        () => client.text,
      )
      expect(client.text).to.match(/event 1\n\n(:\n)+id: 2\ndata: event 2\n\n(:\n)+$/)
      client.leave()
    })

    it('sends no heartbeats with heartbeat 0', async () => {
      let write = (_: string) => {}
      await using upstream = await serve((_, response) => {
        stream(response, wire(1))
        write = (text) => response.write(text)
      })
      await using relay = await relayTo(upstream.url, { heartbeat: 0, idleTimeout: 0 })
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

    it('sends no heartbeats while events arrive', async () => {
      let write = (_: string) => {}
      await using upstream = await serve((_, response) => {
        stream(response, wire(1))
        write = (text) => response.write(text)
      })
      await using relay = await relayTo(upstream.url, { heartbeat: 1000 })
      using time = holdTime()
      const client = await get(relay.server.url)
      for (let n = 1; n <= 5; n++) {
        await until(
          () => client.text.includes(`event ${n}`),
          () => client.text,
        )
        await time.pass(600)
        write(wire(n + 1))
      }
      expect(client.text).to.not.include(':\n')
      client.leave()
    })

    it("sends its own reconnection time, and not the upstream's", async () => {
      await using upstream = await serve(stays('retry: 5\n\n', wire(1, 'end')))
      await using relay = await relayTo(upstream.url, { retry: 2500, isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      await client.ended
      expect(client.text).to.equal(`retry: 2500\n${wire(1, 'end')}`)
    })

    it('sends its status in events without ids with statusEvents', async () => {
      await using upstream = await serveInTurn(resets('data: a\n\n'), answers(503), stays('data: end\n\n'))
      await using relay = await relayTo(upstream.url, { statusEvents: true, isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      await client.ended
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
        await using relay = await relayTo(upstream.url, options)
        const client = await get(relay.server.url)
        expect(await client.ended).to.equal('broken')
        expect(client.text).to.equal(wire(1))
        await settled(relay)
        expect(relay.summaries[0]).to.include({ outcome: 'failed' })
        expect(relay.summaries[0]?.error).to.include({ code })
      })

      it(`shows ${name} as an event, when errorEvent returns one`, async () => {
        await using upstream = await serveInTurn(...scripts)
        const errorEvent = (error: Error) => ({
          event: 'error',
          data: error instanceof SseError ? error.code : '',
        })
        await using relay = await relayTo(upstream.url, { ...options, errorEvent })
        const client = await get(relay.server.url)
        expect(await client.ended).to.equal('end')
        expect(client.text).to.equal(`${wire(1)}event: error\ndata: ${code}\n\n`)
        await settled(relay)
        expect(relay.summaries[0]).to.include({ outcome: 'failed' })
      })
    }
  })

  describe("faults in the caller's functions", () => {
    const own = new Error('own')
    const fault = () => {
      throw own
    }

    it('reject, and leave the response unchanged before the head was sent', async () => {
      // @ts-expect-error what a factory without types may give
      await using relay = await relayTo(() => ({}))
      const client = await get(relay.server.url)
      expect(client.status).to.equal(500)
      await settled(relay)
      expect(relay.faults[0]).to.be.instanceOf(TypeError)
    })

    for (const options of [{ isTerminal: fault }, { cursor: fault }]) {
      it(`reject, and break the connection after the head: ${Object.keys(options)[0]}`, async () => {
        await using upstream = await serve(stays(wire(1)))
        await using relay = await relayTo(upstream.url, options)
        const client = await get(relay.server.url)
        expect(await client.ended).to.equal('broken')
        await settled(relay)
        expect(relay.faults).to.deep.equal([own])
      })
    }

    it('reject, and break the connection: errorEvent', async () => {
      await using upstream = await serve(stays(wire(1), 'x'.repeat(2000)))
      await using relay = await relayTo(upstream.url, { maxEventSize: 1000, errorEvent: fault })
      const client = await get(relay.server.url)
      expect(await client.ended).to.equal('broken')
      await settled(relay)
      expect(relay.faults).to.deep.equal([own])
    })

    it('reject when there is none: the factory', async () => {
      // @ts-expect-error what a caller without types may give
      await using relay = await relayTo(undefined)
      expect((await get(relay.server.url)).status).to.equal(500)
      expect(relay.faults[0])
        .to.be.instanceOf(TypeError)
        .with.property('message', 'factory must be a function, got undefined')
    })

    it('reject with an error that names a wrong option', async () => {
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
        await using relay = await relayTo('http://127.0.0.1:9/', options)
        expect((await get(relay.server.url)).status).to.equal(500)
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
    await using relay = await relayTo(upstream.url, { signal: controller.signal })
    const client = await get(relay.server.url)
    controller.abort()
    expect(await client.ended).to.equal('broken')
    await settled(relay)
    expect(relay.summaries[0]).to.include({ outcome: 'failed' })
  })

  it('supports https to the client and to the upstream', async () => {
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

  it('is over when its response has finished, also where a wrapper of a response emits no close', async () => {
    const wrapper = new Writable({ autoDestroy: false, write: (_, __, done) => done() })
    const res = Object.assign(wrapper, {
      statusCode: 200,
      headersSent: false,
      getHeader: () => undefined,
      setHeader: () => {},
      removeHeader: () => {},
    })
    const factory = () => Readable.from([wire(1, 'end')])
    const summary = await relaySse({ headers: {} }, res, factory, { isTerminal: lastIs('end') })
    expect(summary).to.include({ outcome: 'ended' })
    expect(res.closed).to.equal(false)
  })

  it('supports http2', async () => {
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
