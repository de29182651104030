import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type ServerResponse, STATUS_CODES } from 'node:http'
import { PassThrough } from 'node:stream'
import { expect } from 'chai'
import { httpUpstream, relayResponse, relaySse, SseError } from '../../src/index.ts'
import { get } from '../support/client.ts'
import { lastIs, wire } from '../support/events.ts'
import { relayTo, settled } from '../support/gateway.ts'
import { answers, freePort, serve, serveInTurn, serveRaw, stays, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

describe('the head of relaySse', () => {
  describe("head: 'lazy'", () => {
    for (const [status, headers] of [
      [401, { 'www-authenticate': 'Bearer' }],
      [403, {}],
      [404, { 'x-request-id': 'a1' }],
      [407, {}],
      [429, { 'retry-after': '60', 'retry-after-ms': '60000', 'x-ratelimit-remaining': '0' }],
      [503, { 'retry-after': '30', 'x-internal': 'secret' }],
    ] as const) {
      it(`passes a first ${status} on, with the fields that the client needs`, async () => {
        const type = { 'content-type': 'application/json' }
        await using upstream = await serve(answers(status, { ...type, ...headers }, '{"error":"why"}'))
        await using relay = await relayTo(upstream.url)
        const client = await get(relay.server.url)
        await client.ended
        expect(client.status).to.equal(status)
        const { 'x-internal': _, ...passed } = { 'x-internal': '', ...headers }
        expect(client.headers).to.include(passed).and.to.not.have.property('x-internal')
        // The body of a 401, a 403 and a 407 is about the credentials that we have sent.
        const isOurs = [401, 403, 407].includes(status)
        expect(client.text).to.equal(isOurs ? `${status} ${STATUS_CODES[status]}\n` : '{"error":"why"}')
        expect(client.headers['content-type']).to.equal(
          isOurs ? 'text/plain; charset=utf-8' : 'application/json',
        )
        await settled(relay)
        expect(relay.summaries[0]).to.include({ outcome: 'refused' })
        expect(relay.summaries[0]?.error).to.be.instanceOf(SseError)
      })
    }

    it("answers a failure with the caller's refusal", async () => {
      await using upstream = await serve(answers(404))
      for (const [refusal, text, fields] of [
        [{ status: 410 }, '410 Gone\n', { 'content-type': 'text/plain; charset=utf-8' }],
        [
          { status: 599, headers: { 'X-A': '1' } },
          '599 Error\n',
          { 'cache-control': 'no-store', 'x-a': '1' },
        ],
        [{ status: 404, headers: { 'Content-Type': 'a/b' }, body: 'own' }, 'own', { 'content-type': 'a/b' }],
        [{ status: 404, headers: { 'Content-Type': 'a/b' } }, '404 Not Found\n', { 'content-type': 'a/b' }],
        [undefined, 'no', {}],
      ] as const) {
        await using relay = await relayTo(upstream.url, { refusal: () => refusal })
        const client = await get(relay.server.url)
        await client.ended
        expect([client.status, client.text]).to.deep.equal([refusal?.status ?? 404, text])
        expect(client.headers).to.include(fields)
      }
    })

    it('answers 502 when no server listens and the next attempt would be too late', async () => {
      const delays: unknown[] = []
      const onRetry = (message: unknown) => delays.push(Object(message).delay)
      subscribe('resilient-sse:retry', onRetry)
      await using relay = await relayTo(`http://127.0.0.1:${await freePort()}/`, {
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
      expect(client.status).to.equal(502)
      await client.ended
      await settled(relay)
      unsubscribe('resilient-sse:retry', onRetry)
      expect(delays[0]).to.equal(20)
      expect(relay.summaries[0]?.stats.attempts).to.equal(2)
    })

    it('answers 504 when the upstream does not answer', async () => {
      await using upstream = await serve(() => {})
      await using relay = await relayTo(upstream.url, { connectTimeout: 200, headTimeout: 0 })
      const client = await get(relay.server.url)
      expect(client.status).to.equal(504)
      expect(upstream.requests).to.have.length(1)
    })

    it('answers 502 when the upstream sends another content type', async () => {
      await using upstream = await serve(answers(200, { 'content-type': 'text/html' }))
      await using relay = await relayTo(upstream.url)
      expect((await get(relay.server.url)).status).to.equal(502)
    })

    it('passes a first 204 on', async () => {
      await using upstream = await serve(answers(204))
      await using relay = await relayTo(upstream.url)
      const client = await get(relay.server.url)
      expect(client.status).to.equal(204)
      await client.ended
      expect(client.headers).to.not.have.property('content-type')
    })

    it('retries retryable failures within headTimeout', async () => {
      await using upstream = await serveInTurn(answers(503), answers(502), stays(wire(1, 'end')))
      await using relay = await relayTo(upstream.url, { isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      expect(client.status).to.equal(200)
      await client.ended
      expect(client.text).to.equal(wire(1, 'end'))
    })

    it('sends no head before the upstream has answered', async () => {
      let answer = () => {}
      await using upstream = await serve((_, response) => {
        answer = () => stream(response, wire(1, 'end'))
      })
      await using relay = await relayTo(upstream.url, { heartbeat: 5, isTerminal: lastIs('end') })
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
      expect((await client).status).to.equal(200)
      await (await client).ended
    })
  })

  describe('that other code has set fields of', () => {
    const usual = { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' }
    for (const [set, sent] of [
      [{}, 'no-cache, no-transform'],
      [{ 'cache-control': 'private' }, 'private, no-transform'],
      [{ 'cache-control': 'No-Transform , private' }, 'No-Transform , private'],
      [{ 'cache-control': 'private,no-transform' }, 'private,no-transform'],
      [{ 'cache-control': 'x-no-transform' }, 'x-no-transform, no-transform'],
      [{ 'cache-control': '' }, ', no-transform'],
      [{ 'x-accel-buffering': 'yes' }, 'no-cache, no-transform'],
      [{ 'x-accel-buffering': '' }, 'no-cache, no-transform'],
      [{ 'content-type': 'text/event-stream;charset=utf-8' }, 'no-cache, no-transform'],
      [{ 'content-type': 'text/html' }, 'no-cache, no-transform'],
    ] as const) {
      it(`has these fields: ${JSON.stringify(set)}`, async () => {
        await using upstream = await serve(stays(wire(1)))
        await using server = await serve((req, res) => {
          for (const [name, value] of Object.entries(set)) res.setHeader(name, value)
          relaySse(req, res, httpUpstream(upstream.url))
        })
        using client = await get(server.url)
        const isOther = 'content-type' in set && set['content-type'] === 'text/html'
        expect(client.headers).to.include({ ...usual, ...(!isOther && set), 'cache-control': sent })
      })
    }

    for (const [lines, sent] of [
      [['application/json, text/event-stream; charset=utf-8'], 'text/event-stream; charset=utf-8'],
      [['application/json', 'Text/Event-Stream;charset=utf-8'], 'Text/Event-Stream;charset=utf-8'],
      [
        ['text/event-stream; a=b', 'text/event-stream; charset="utf-8"'],
        'text/event-stream; charset="utf-8"',
      ],
      [['text/event-stream;a=b, */*, nonsense'], 'text/event-stream;a=b'],
    ] as const) {
      it(`has the upstream's last valid content type, with its parameters: ${lines.join(' | ')}`, async () => {
        const fields = lines.map((line) => `content-type: ${line}\r\n`).join('')
        await using upstream = await serveRaw((socket) => socket.write(`HTTP/1.1 200 OK\r\n${fields}\r\n`))
        await using relay = await relayTo(upstream.url)
        using client = await get(relay.server.url)
        expect(client.headers['content-type']).to.equal(sent)
        // The fields that middleware has set come first.
        await using server = await serve((req, res) => {
          res.setHeader('content-type', [...lines])
          relaySse(req, res, () => new PassThrough())
        })
        using other = await get(server.url)
        expect(other.headers['content-type']).to.equal(sent)
      })
    }

    it("has the upstream's cache directives, in one or in several lines", async () => {
      for (const [lines, sent] of [
        ['max-age=0', 'max-age=0, no-transform'],
        [['max-age=0', 'private'], 'max-age=0, private, no-transform'],
      ] as const) {
        const headers = { 'content-type': 'text/event-stream', 'cache-control': lines }
        await using relay = await relayTo(() => ({ statusCode: 200, headers, body: new PassThrough() }))
        using client = await get(relay.server.url)
        expect(client.headers['cache-control']).to.equal(sent)
      }
    })
  })

  it('has no connection field, which belongs to node:http, and none of the upstream', async () => {
    await using upstream = await serve((_, response) => {
      response.setHeader('connection', 'close, x-hop')
      stream(response, wire(1))
    })
    await using relay = await relayTo(upstream.url)
    let downstream: ServerResponse | undefined
    relay.server.server.on('request', (_, response) => {
      downstream = response
    })
    using client = await get(relay.server.url)
    expect(client.status).to.equal(200)
    const response = await relayResponse(new Request('http://gateway.test/'), httpUpstream(upstream.url))
    await response.body?.cancel()
    expect([...response.headers.keys()]).to.have.members([
      'cache-control',
      'content-type',
      'x-accel-buffering',
    ])
    expect(downstream?.getHeaderNames()).to.have.members([...response.headers.keys()])
  })

  describe("head: 'eager'", () => {
    it('answers at once, and sends heartbeats before the upstream answers', async () => {
      await using upstream = await serve(() => {})
      await using relay = await relayTo(upstream.url, { head: 'eager', heartbeat: 5 })
      const client = await get(relay.server.url)
      expect(client.status).to.equal(200)
      await until(
        () => client.text.length > 10,
        () => 'heartbeats',
      )
      expect(client.text).to.match(/^(:\n)+$/)
      client.leave()
      await until(
        () => upstream.requests[0]?.socket.destroyed === true,
        () => 'the upstream closes',
      )
    })

    it('breaks the connection when the upstream refuses', async () => {
      await using upstream = await serve(answers(404))
      await using relay = await relayTo(upstream.url, { head: 'eager' })
      const client = await get(relay.server.url)
      expect(client.status).to.equal(200)
      expect(await client.ended).to.equal('broken')
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'failed' })
    })
  })
})
