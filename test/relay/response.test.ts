import { getEventListeners } from 'node:events'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { httpUpstream, type RelaySummary, relayResponse } from '../../src/index.ts'
import { WebResponse } from '../../src/relay/web-response.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { answers, ends, flood, resets, serve, serveInTurn, settledBytes, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

describe('a response of the fetch API', () => {
  it('is closed when it was answered', () => {
    const downstream = new WebResponse(new AbortController().signal)
    expect(downstream.isClosed).to.equal(false)
    downstream.answer({ status: 404, fields: new Map(), body: 'no' })
    expect(downstream.isClosed).to.equal(true)
  })
})

describe('relayResponse', () => {
  it('is a 200 whose body survives drops', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2, 'end')))
    const response = await relayResponse(
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
      const response = await relayResponse(request, httpUpstream(upstream.url), {}, (_, ended) => {
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

  it("has the status of the upstream's refusal, and the fields that the client needs", async () => {
    await using upstream = await serve(answers(429, { 'retry-after': '7', 'x-ratelimit-limit': '5' }))
    const request = new Request('http://gateway.test/', { headers: { accept: 'application/json' } })
    const response = await relayResponse(request, httpUpstream(upstream.url), {
      reconnect: { maxRetries: 0 },
    })
    expect(response.status).to.equal(429)
    expect(response.headers.get('retry-after')).to.equal('7')
    expect(response.headers.get('x-ratelimit-limit')).to.equal('5')
    await response.text()
  })

  it('sends a retry: to a client that reconnects, when the upstream is unavailable', async () => {
    await using upstream = await serve(answers(503))
    const request = new Request('http://gateway.test/', { headers: { accept: 'text/event-stream' } })
    const response = await relayResponse(request, httpUpstream(upstream.url), {
      reconnect: { maxRetries: 0 },
    })
    expect(response.status).to.equal(200)
    expect(await response.text()).to.match(/^retry: \d+\n$/)
  })

  it('has only the head for a HEAD request, without an upstream connection', async () => {
    await using upstream = await serve(stays(wire(1)))
    const request = new Request('http://gateway.test/', { method: 'HEAD' })
    const response = await relayResponse(request, httpUpstream(upstream.url))
    expect(response.status).to.equal(200)
    expect(response.headers.get('content-type')).to.equal('text/event-stream')
    expect(await response.text()).to.equal('')
    expect(upstream.requests).to.have.length(0)
  })

  it('closes the upstream when the request is aborted before the upstream answers', async () => {
    await using upstream = await serve(() => {})
    const controller = new AbortController()
    const request = new Request('http://gateway.test/', { signal: controller.signal })
    const response = relayResponse(request, httpUpstream(upstream.url))
    await until(
      () => upstream.requests.length === 1,
      () => 'a request',
    )
    controller.abort()
    await response
    await until(
      () => upstream.sockets.size === 0,
      () => 'the upstream closes',
    )
  })

  it('closes the upstream when a consumer stops reading with chunks in the buffer', async () => {
    await using upstream = await serve((_, response) => flood(response))
    for (let n = 0; n < 5; n++) {
      const response = await relayResponse(new Request('http://gateway.test/'), httpUpstream(upstream.url))
      // Time for the body's buffer to fill.
      await sleep(20)
      for await (const _ of response.body ?? []) break
    }
    await until(
      () => upstream.sockets.size === 0,
      () => 'the upstreams close',
    )
  })

  it('does not call the factory for an aborted request', async () => {
    const request = new Request('http://gateway.test/', { signal: AbortSignal.abort() })
    let calls = 0
    let summary: RelaySummary | undefined
    const factory = () => {
      calls++
      return (async function* () {})()
    }
    const response = await relayResponse(request, factory, {}, (_, ended) => {
      summary = ended
    })
    await until(
      () => summary !== undefined,
      () => 'the summary',
    )
    expect(summary).to.include({ outcome: 'client-gone' })
    expect(calls).to.equal(0)
    expect(response.status).to.equal(499)
    await response.text().catch(() => {})
  })

  it('pauses the upstream when the body is not read', async () => {
    await using upstream = await serve((_, response) => flood(response))
    const response = await relayResponse(new Request('http://gateway.test/'), httpUpstream(upstream.url))
    await until(
      () => (upstream.requests[0]?.socket.bytesWritten ?? 0) > 100_000,
      () => 'the flood begins',
    )
    expect(await settledBytes(upstream.requests[0]?.socket)).to.be.below(16 * 1024 * 1024)
    await response.body?.cancel()
  })

  it('sends heartbeats to a client that has read everything', async () => {
    await using upstream = await serve(stays(wire(1)))
    const request = new Request('http://gateway.test/')
    const response = await relayResponse(request, httpUpstream(upstream.url), { heartbeat: 1 })
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk)
      if (text.endsWith(':\n:\n')) break
    }
    expect(text).to.equal(`${wire(1)}:\n:\n`)
  })

  for (const [name, script, ends] of [
    ['its stream has ended', stays(wire(1, 'end')), true],
    ['a refusal', answers(404), true],
    ['it was cancelled', stays(wire(1)), false],
  ] as const) {
    it(`leaves no listener on the signal of its request: ${name}`, async () => {
      await using upstream = await serve(script)
      const { signal } = new AbortController()
      const request = new Request('http://gateway.test/', { signal })
      let summary: RelaySummary | undefined
      const options = { isTerminal: lastIs('end') }
      const response = await relayResponse(request, httpUpstream(upstream.url), options, (_, ended) => {
        summary = ended
      })
      if (ends) await response.text()
      else await response.body?.cancel()
      await until(
        () => summary !== undefined,
        () => 'the summary',
      )
      expect(getEventListeners(request.signal, 'abort')).to.have.length(0)
    })
  }

  it("delivers the stream's end after a heartbeat, however late the body is read", async () => {
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
      const response = await relayResponse(new Request('http://gateway.test/'), source, options)
      // Many heartbeats' time, in which nobody reads.
      await sleep(20)
      expect((await response.text()).replaceAll(':\n', ''), `${count} chunks`).to.equal(chunks.join(''))
    }
  })

  it('breaks the body when the stream fails', async () => {
    await using upstream = await serveInTurn(ends(wire(1)), answers(404))
    const response = await relayResponse(new Request('http://gateway.test/'), httpUpstream(upstream.url), {
      reconnect: fast,
    })
    const broken = await response.text().then(
      () => false,
      () => true,
    )
    expect(broken).to.equal(true)
  })
})
