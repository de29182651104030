import { readFileSync } from 'node:fs'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleWhen } from 'cockatiel'
import {
  createResilientSseSource,
  httpUpstream,
  type RelayOptions,
  type RelaySummary,
  relaySse,
  SseError,
  type UpstreamFactory,
} from '../../src/index.ts'
import { drain, fast, lastIs, textOf, wire } from '../support/events.ts'
import { answers, ends, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

function behindBreaker(url: string, { failures = 5, halfOpenAfter = 10_000 } = {}): UpstreamFactory {
  const counted = handleWhen(
    (error) => !(error instanceof Error && error.name === 'AbortError'),
  ).orWhenResult((response) => response instanceof Response && response.status >= 500)
  const breaker = circuitBreaker(counted, { breaker: new ConsecutiveBreaker(failures), halfOpenAfter })
  return ({ headers, signal }) => breaker.execute(() => fetch(url, { headers, signal }))
}

function withToken(url: string, token: (how: 'kept' | 'new') => Promise<string>): UpstreamFactory {
  return async ({ headers, signal }) => {
    const open = async (how: 'kept' | 'new') =>
      fetch(url, { headers: { ...headers, authorization: `Bearer ${await token(how)}` }, signal })
    const response = await open('kept')
    if (response.status !== 401) return response
    await response.body?.cancel()
    return open('new')
  }
}

function backgroundResponse(api: string, headers: Record<string, string>, request: object) {
  const body = JSON.stringify({ ...request, background: true, stream: true })
  let id: string | undefined
  const upstream: UpstreamFactory = ({ cursor, signal }) =>
    cursor === undefined
      ? fetch(`${api}/responses`, { method: 'POST', headers, body, signal })
      : fetch(`${api}/responses/${id}?stream=true&starting_after=${cursor}`, { headers, signal })
  const options: RelayOptions = {
    resume: 'with-cursor',
    cursor: ({ data = '{}' }) => {
      const { sequence_number, response } = JSON.parse(data)
      id ??= response?.id
      return id && sequence_number?.toString()
    },
    isTerminal: ({ event = '' }) => /^response\.(completed|failed|incomplete|cancelled)$/.test(event),
  }
  return { upstream, options }
}

const completion: RelayOptions = {
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
  errorEvent: ({ message }) => ({ data: JSON.stringify({ error: { message } }) }),
}

function withCursorInQuery(url: string, name: string): UpstreamFactory {
  return ({ cursor, headers, signal }) => {
    const target = new URL(url)
    if (cursor !== undefined) target.searchParams.set(name, cursor)
    return fetch(target, { headers, signal })
  }
}

const file = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8')

describe('docs/recipes.md', () => {
  it('shows the code that is tested here', () => {
    const blocks = Array.from(
      file('../../docs/recipes.md').matchAll(/^```ts\n(.*?)^```/gms),
      ([, code = '']) => code.replace(/^import .*\n\n?/gm, ''),
    )
    expect(blocks).to.have.length(5)
    for (const block of blocks) expect(file('recipes.test.ts')).to.include(`\n${block}\n`)
  })

  describe('circuit breaker', () => {
    it('keeps attempts from the upstream while it is open, spaced by the backoff, and lets one probe', async () => {
      await using upstream = await serveInTurn(
        answers(503),
        answers(500),
        answers(503),
        stays(wire(1, 'end')),
      )
      const factory = behindBreaker(upstream.url, { failures: 3, halfOpenAfter: 200 })
      const source = createResilientSseSource(factory, {
        reconnect: { baseDelay: 10, maxDelay: 40, minDelay: 1, maxRetries: 1000, jitter: 0 },
        isTerminal: lastIs('end'),
      })
      const delays: number[] = []
      const broken: number[] = []
      source.on('retry', ({ error, delay }) => {
        delays.push(delay)
        if (error.cause instanceof BrokenCircuitError) broken.push(upstream.requests.length)
      })
      expect(await textOf(source)).to.equal(wire(1, 'end'))
      expect(broken).to.have.length.within(2, 6)
      expect(new Set(broken)).to.deep.equal(new Set([3]))
      expect(delays).to.deep.equal([10, 20, 40, ...broken.map(() => 40)])
      expect(upstream.requests).to.have.length(4)
    })

    it('does not count clients that leave', async () => {
      await using upstream = await serve(() => {})
      const factory = behindBreaker(upstream.url, { failures: 1 })
      for (let n = 1; n <= 3; n++) {
        const source = createResilientSseSource(factory).resume()
        await until(
          () => upstream.requests.length === n,
          () => `request ${n}`,
        )
        source.destroy()
      }
    })
  })

  describe('a token that expires', () => {
    /** Accepts the token that is valid now. */
    const guarded =
      (valid: () => string, script: RequestListener): RequestListener =>
      (request, response) =>
        (request.headers.authorization === `Bearer ${valid()}` ? script : answers(401))(request, response)

    it('is refreshed and tried once more, also in the middle of the stream', async () => {
      let valid = 1
      let kept = 0
      const token = async (how: 'kept' | 'new') => {
        if (how === 'new') kept = valid
        return `${kept}`
      }
      const scripts = [resets(wire(1)), stays(wire(2, 'end'))]
      await using upstream = await serve(
        guarded(
          () => `${valid}`,
          (request, response) => {
            valid++
            scripts.shift()?.(request, response)
          },
        ),
      )
      const source = createResilientSseSource(withToken(upstream.url, token), {
        reconnect: fast,
        isTerminal: lastIs('end'),
      })
      expect(await textOf(source)).to.equal(wire(1) + wire(2, 'end'))
      expect(upstream.requests.map(({ headers }) => headers.authorization)).to.deep.equal([
        'Bearer 0',
        'Bearer 1',
        'Bearer 1',
        'Bearer 2',
      ])
      expect(source.stats.attempts).to.equal(2)
    })

    it('fails with 401 where the new one is refused as well', async () => {
      await using upstream = await serve(guarded(() => 'another', stays()))
      const source = createResilientSseSource(withToken(upstream.url, async (how) => how))
      expect((await drain(source)).error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 401 })
      expect(upstream.requests).to.have.length(2)
    })
  })

  it('a response with sequence numbers is resumed after the last one', async () => {
    const event = (type: string, sequence_number: number, rest = {}) =>
      `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number, ...rest })}\n\n`
    const created = event('response.created', 0, { response: { id: 'resp_1' } })
    const delta = (n: number) => event('response.output_text.delta', n, { delta: 'a' })
    const completed = event('response.completed', 4)
    await using upstream = await serveInTurn(
      answers(503),
      resets(created, delta(1), delta(2).slice(0, 20)),
      answers(502),
      ends(delta(2)),
      stays(delta(3), completed),
    )
    const api = new URL(upstream.url).origin
    const { upstream: factory, options } = backgroundResponse(
      api,
      { authorization: 'Bearer key' },
      { model: 'm' },
    )
    const source = createResilientSseSource(factory, { ...options, reconnect: fast })
    expect(await textOf(source)).to.equal(created + delta(1) + delta(2) + delta(3) + completed)
    expect(upstream.requests.map(({ method, url }) => `${method} ${url}`)).to.deep.equal([
      'POST /responses',
      'POST /responses',
      'GET /responses/resp_1?stream=true&starting_after=1',
      'GET /responses/resp_1?stream=true&starting_after=1',
      'GET /responses/resp_1?stream=true&starting_after=2',
    ])
    expect(source.stats.gaps).to.equal(0)
  })

  describe('a completion without ids', () => {
    const token = (data: string) => `data: ${data}\n\n`
    const request = {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"stream":true}',
    }

    /** What the client gets of it, and what the upstream was asked. */
    async function relayed(...scripts: Parameters<typeof serveInTurn>) {
      let summary: RelaySummary | undefined
      const bodies: string[] = []
      await using upstream = await serveInTurn(...scripts)
      upstream.server.prependListener('request', async (message: IncomingMessage) => {
        bodies.push(await text(message))
      })
      const relay = async (req: IncomingMessage, res: ServerResponse) => {
        const factory = httpUpstream(upstream.url, request)
        summary = await relaySse(req, res, factory, { ...completion, reconnect: fast })
      }
      await using gateway = await serve(relay)
      const response = await fetch(gateway.url)
      const received = await response.text()
      await until(
        () => summary !== undefined,
        () => 'the summary',
      )
      return { received, bodies, error: summary?.error, requests: upstream.requests.length }
    }

    it('is asked for again while the upstream says that it has not processed the request', async () => {
      const outcome = await relayed(
        answers(503),
        answers(429),
        stays(token('a'), token('b'), token('[DONE]')),
      )
      expect(outcome.received).to.equal(token('a') + token('b') + token('[DONE]'))
      expect(outcome.bodies).to.deep.equal(Array(3).fill('{"stream":true}'))
      expect(outcome.error).to.equal(undefined)
    })

    it('is not asked for again when it may have been processed', async () => {
      const outcome = await relayed(({ socket }) => socket.resetAndDestroy(), stays(token('[DONE]')))
      expect(outcome.requests).to.equal(1)
      expect(outcome.error).to.include({ code: 'ERR_SSE_CONNECT', sent: true })
    })

    for (const [name, script] of Object.entries({ 'a drop': resets, 'an end without [DONE]': ends })) {
      it(`is never spliced with a second one: ${name} after its first event is an error that the client sees`, async () => {
        const outcome = await relayed(script(token('a')), stays(token('other'), token('[DONE]')))
        expect(outcome.requests).to.equal(1)
        expect(outcome.error).to.be.instanceOf(SseError).and.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
        expect(outcome.received).to.match(/^data: a\n\ndata: {"error":{"message":".+"}}\n\n$/)
      })
    }
  })

  it('a cursor goes into the query', async () => {
    await using upstream = await serveInTurn(
      resets(wire('日本&1')),
      (_, response) => {
        stream(response, wire(2)).end()
      },
      stays(wire(3, 'end')),
    )
    const factory = withCursorInQuery(`${upstream.url}?topic=a`, 'since')
    const source = createResilientSseSource(factory, { reconnect: fast, isTerminal: lastIs('end') })
    expect(await textOf(source)).to.equal(wire('日本&1') + wire(2) + wire(3, 'end'))
    const queries = upstream.requests.map(({ url = '' }) => new URL(url, upstream.url).searchParams)
    expect(queries.map((query) => query.get('since'))).to.deep.equal([null, '日本&1', '2'])
    expect(queries.map((query) => query.get('topic'))).to.deep.equal(['a', 'a', 'a'])
  })
})
