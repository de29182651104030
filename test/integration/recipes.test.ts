import { readFileSync } from 'node:fs'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { BrokenCircuitError, ConsecutiveBreaker, circuitBreaker, handleWhen } from 'cockatiel'
import {
  createResilientSseSource,
  type Drain,
  httpUpstream,
  type RelayOptions,
  type RelaySummary,
  relaySse,
  SseError,
  type SseEvent,
  type UpstreamFactory,
} from '../../src/index.ts'
import { library, startModule } from '../support/child.ts'
import { answerOf, get, has } from '../support/client.ts'
import { drain, fast, lastIs, textOf, wire } from '../support/events.ts'
import { relayTo } from '../support/gateway.ts'
import { blocksOf } from '../support/pages.ts'
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

function storedResponse(api: string, headers: Record<string, string>, id: string) {
  const upstream: UpstreamFactory = ({ cursor, signal }) => {
    const url = new URL(`${api}/responses/${encodeURIComponent(id)}?stream=true`)
    // The first cursor is the client's Last-Event-ID, which may be anything.
    if (cursor !== undefined && /^\d+$/.test(cursor)) url.searchParams.set('starting_after', cursor)
    return fetch(url, { headers, signal })
  }
  const options: RelayOptions = {
    resume: 'with-cursor',
    cursorAsId: true,
    cursor: ({ data = '{}' }) => JSON.parse(data).sequence_number?.toString(),
    isTerminal: ({ event = '' }) => /^response\.(completed|failed|incomplete|cancelled)$/.test(event),
  }
  return { upstream, options }
}

const anthropic: RelayOptions = {
  resume: 'before-first-event',
  isTerminal: ({ event }) => event === 'message_stop' || event === 'error',
  errorEvent({ message }) {
    return { event: 'error', data: JSON.stringify({ type: 'error', error: { type: 'api_error', message } }) }
  },
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

const redacted: RelayOptions = {
  transform: ({ data = '', ...event }: SseEvent) => ({ ...event, data: data.replace(/\b\d{16}\b/g, '****') }),
}

function stoppable(server: Server, drain: Drain) {
  process.once('SIGTERM', async () => {
    server.close()
    await drain.start({ spread: 4000 })
    process.exit(0)
  })
}

const file = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8')

describe('the recipes of the pages', () => {
  it('shows the code that is tested here', () => {
    const blocks = ['docs/recipes.md', 'docs/llm.md', 'docs/shared-streams.md'].flatMap(blocksOf)
    const recipes = blocks
      .filter(({ language }) => language === 'ts')
      .map(({ code }) => code.replace(/^import .*\n\n?/gm, ''))
      // A program that test/docs/guide-programs.test.ts runs.
      .filter((code) => !code.includes('export '))
    expect(recipes).to.have.length(12)
    const tested = file('recipes.test.ts') + file('hub-recipes.test.ts')
    for (const recipe of recipes) expect(tested).to.include(`\n${recipe}\n`)
  })

  describe('circuit breaker', () => {
    it('makes attempts fail while it is open, spaced by the backoff, and lets one request through', async () => {
      await using upstream = await serveInTurn(
        answers(503),
        answers(500),
        answers(503),
        stays(wire(1, 'end')),
      )
      const factory = behindBreaker(upstream.url, { failures: 3, halfOpenAfter: 1000 })
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
      expect(broken).to.not.be.empty
      expect(new Set(broken)).to.deep.equal(new Set([3]))
      expect(delays).to.deep.equal([10, 20, 40, ...broken.map(() => 40)])
      expect(upstream.requests).to.have.length(4)
    })

    it('does not count clients that disconnect', async () => {
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

    it('is replaced, and the request is sent again, also in the middle of the stream', async () => {
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

    it('leads to a 401 when the new token is refused too', async () => {
      await using upstream = await serve(guarded(() => 'another', stays()))
      const source = createResilientSseSource(withToken(upstream.url, async (how) => how))
      expect((await drain(source)).error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 401 })
      expect(upstream.requests).to.have.length(2)
    })
  })

  describe('a response with sequence numbers', () => {
    const event = (type: string, sequence_number: number, rest = {}) =>
      `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number, ...rest })}\n\n`
    const created = event('response.created', 0, { response: { id: 'resp_1' } })
    const delta = (n: number) => event('response.output_text.delta', n, { delta: 'a' })
    const completed = event('response.completed', 4)
    const numbered = (n: number, text: string) => `id: ${n}\n${text}`

    /** Relays one response to a client, of which `lastEventId` is known. */
    async function relayed(lastEventId: string | undefined, ...scripts: Parameters<typeof serveInTurn>) {
      await using upstream = await serveInTurn(...scripts)
      const { origin } = new URL(upstream.url)
      const { upstream: factory, options } = storedResponse(origin, { authorization: 'Bearer key' }, 'resp_1')
      await using gateway = await relayTo(factory, options)
      const headers = { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) }
      const { text } = await answerOf(gateway.url, headers)
      return { text, urls: upstream.requests.map(({ url }) => url) }
    }

    it('is resumed after the last number', async () => {
      const { text, urls } = await relayed(
        undefined,
        answers(503),
        resets(created, delta(1), delta(2).slice(0, 20)),
        answers(502),
        ends(delta(2)),
        stays(delta(3), completed),
      )
      const all = [created, delta(1), delta(2), delta(3), completed]
      expect(text).to.equal(all.map((each, n) => numbered(n, each)).join(''))
      expect(urls).to.deep.equal([
        '/responses/resp_1?stream=true',
        '/responses/resp_1?stream=true',
        '/responses/resp_1?stream=true&starting_after=1',
        '/responses/resp_1?stream=true&starting_after=1',
        '/responses/resp_1?stream=true&starting_after=2',
      ])
    })

    it('is resumed for a client that reconnects', async () => {
      const { text, urls } = await relayed('2', stays(delta(3), completed))
      expect(text).to.equal(numbered(3, delta(3)) + numbered(4, completed))
      expect(urls).to.deep.equal(['/responses/resp_1?stream=true&starting_after=2'])
    })

    for (const injected of ['8&include[]=x', '8%26include%5B%5D=x', '../other', '-1']) {
      it(`ignores a last event ID that is not a number: ${injected}`, async () => {
        const { urls } = await relayed(injected, stays(created, completed))
        expect(urls).to.deep.equal(['/responses/resp_1?stream=true'])
      })
    }
  })

  describe('a message of Anthropic', () => {
    const named = (event: string) => `event: ${event}\ndata: {"type":"${event}"}\n\n`
    const begin = named('message_start') + named('content_block_delta')

    it('ends after its last event, also over a connection that stays open', async () => {
      await using upstream = await serve(stays(begin, named('message_stop')))
      await using gateway = await relayTo(httpUpstream(upstream.url, { method: 'POST' }), anthropic)
      expect(await answerOf(gateway.url)).to.include({ text: begin + named('message_stop'), over: 'end' })
    })

    it('ends with the event of a failure when it was cut off, and is not requested again', async () => {
      await using upstream = await serve(resets(begin))
      await using gateway = await relayTo(httpUpstream(upstream.url, { method: 'POST' }), anthropic)
      const { text } = await answerOf(gateway.url)
      expect(text).to.match(/^event: message_start\n/)
      expect(text.slice(begin.length)).to.match(
        /^event: error\ndata: {"type":"error","error":{"type":"api_error"/,
      )
      expect(upstream.requests).to.have.length(1)
    })
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

    it('is requested again while the upstream has not processed the request', async () => {
      const outcome = await relayed(
        answers(503),
        answers(429),
        stays(token('a'), token('b'), token('[DONE]')),
      )
      expect(outcome.received).to.equal(token('a') + token('b') + token('[DONE]'))
      expect(outcome.bodies).to.deep.equal(Array(3).fill('{"stream":true}'))
      expect(outcome.error).to.equal(undefined)
    })

    it('is not requested again when it may have been processed', async () => {
      const outcome = await relayed(({ socket }) => socket.resetAndDestroy(), stays(token('[DONE]')))
      expect(outcome.requests).to.equal(1)
      expect(outcome.error).to.include({ code: 'ERR_SSE_CONNECT', sent: true })
    })

    for (const [name, script] of Object.entries({ 'a drop': resets, 'an end without [DONE]': ends })) {
      it(`is never continued with a second completion: ${name} after the first event is an error that the client sees`, async () => {
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

  it('events are redacted by a transform', async () => {
    await using upstream = await serve(stays(wire(1, 'card 4111111111111111'), wire(2, 'end')))
    await using gateway = await relayTo(upstream.url, { ...redacted, isTerminal: lastIs('end') })
    expect((await answerOf(gateway.url)).text).to.equal(wire(1, 'card ****') + wire(2, 'end'))
  })

  it('a server that stops tells its clients to reconnect, and exits', async () => {
    await using upstream = await serve(stays(wire(1)))
    const script = `
      import http from 'node:http'
      import { createDrain, httpUpstream, relaySse } from '${library}'
      const stoppable = ${stoppable.toString()}
      const drain = createDrain()
      const server = http.createServer((req, res) => relaySse(req, res, httpUpstream(process.argv[1]), { drain }))
      stoppable(server, drain)
      server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port))
    `
    await using program = await startModule(script, [upstream.url])
    const port = () => /port (\d+)/.exec(program.out)?.[1]
    await until(
      () => port() !== undefined,
      () => 'the server listens',
    )
    const client = await get(`http://127.0.0.1:${port()}/`)
    await has(client, wire(1))
    program.child.kill('SIGTERM')
    expect(await client.ended).to.equal('end')
    expect(client.text).to.match(/event 1\n\nretry: \d+\n$/)
    expect((await program.ended).code).to.equal(0)
  })
})
