import { expect } from 'chai'
import { httpUpstream, type RelayOptions, relaySse, type SseEvent } from '../../src/index.ts'
import { answerOf, ask, get, has } from '../support/client.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { relayTo, settled } from '../support/gateway.ts'
import {
  answers,
  ends,
  flood,
  resets,
  serve,
  serveInTurn,
  settledBytes,
  stays,
  stream,
} from '../support/server.ts'
import { until } from '../support/until.ts'

const upper = ({ data = '', ...event }: SseEvent): SseEvent => ({ ...event, data: data.toUpperCase() })

describe('transform', () => {
  const transforms: Record<string, NonNullable<RelayOptions['transform']>> = {
    'a function': (event: SseEvent) => (event.data === 'event 2' ? undefined : upper(event)),
    'an async function*': async function* (events: AsyncIterable<SseEvent>) {
      for await (const event of events) if (event.data !== 'event 2') yield upper(event)
    },
  }
  for (const name of ['isTerminal', 'cursor', 'shouldRetry'] as const) {
    it(`is left by the generator when ${name} throws, so that the generator can release what it holds`, async () => {
      await using upstream = await serveInTurn(resets(wire(1), wire(2)), answers(503))
      let isReleased = false
      const fault = () => {
        throw new Error('a fault')
      }
      await using relay = await relayTo(upstream.url, {
        transform: async function* (events: AsyncIterable<SseEvent>) {
          try {
            yield* events
          } finally {
            isReleased = true
          }
        },
        ...(name === 'shouldRetry' ? { reconnect: { ...fast, shouldRetry: fault } } : { [name]: fault }),
      })
      await answerOf(relay.url)
      await until(
        () => isReleased,
        () => 'the generator ends',
      )
    })
  }

  for (const [name, transform] of Object.entries(transforms)) {
    it(`changes and drops events over a drop, and keeps head and heartbeats: ${name}`, async () => {
      await using upstream = await serveInTurn(
        resets(wire(1), wire(2)),
        answers(503),
        stays(wire(2), wire(3), wire(4, 'end')),
      )
      const options = { isTerminal: lastIs('end'), heartbeat: 5, reconnect: { baseDelay: 30 } }
      await using relay = await relayTo(upstream.url, { ...options, transform })
      const client = await answerOf(relay.url)
      expect(client.headers).to.include({ 'x-accel-buffering': 'no' })
      expect(client.text).to.include(':\n')
      expect(client.text.replaceAll(':\n', '')).to.equal(
        wire(1, 'EVENT 1') + wire(3, 'EVENT 3') + wire(4, 'END'),
      )
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'ended', lastEventId: '4' })
    })

    it(`keeps the upstream's refusal: ${name}`, async () => {
      await using upstream = await serve(answers(404))
      await using relay = await relayTo(upstream.url, { transform })
      expect((await answerOf(relay.url)).status).to.equal(404)
    })

    it(`makes a failure visible to the client, after the earlier events: ${name}`, async () => {
      await using upstream = await serveInTurn(resets(wire(1)), answers(404))
      await using relay = await relayTo(upstream.url, { transform })
      expect(await answerOf(relay.url)).to.include({ text: wire(1, 'EVENT 1'), over: 'broken' })
      await using again = await serveInTurn(resets(wire(1)), answers(404))
      await using told = await relayTo(again.url, {
        transform,
        errorEvent: () => ({ data: 'sorry' }),
      })
      expect(await answerOf(told.url)).to.include({
        text: `${wire(1, 'EVENT 1')}data: sorry\n\n`,
        over: 'end',
      })
    })

    it(`pauses the upstream when the client does not read: ${name}`, async () => {
      await using upstream = await serve((_, response) => flood(response))
      await using relay = await relayTo(upstream.url, { transform })
      const client = await get(relay.url)
      client.reads(false)
      expect(await settledBytes(upstream.requests[0]?.socket)).to.be.below(32 * 1024 * 1024)
      client.reads(true)
      await until(
        () => client.text.length > 40_000_000,
        () => `${client.text.length}`,
      )
      client.leave()
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'client-gone' })
    })
  }

  it('that is a generator gets a failure as an exception after the earlier events, and does not see a normal end', async () => {
    await using upstream = await serve(resets('data: Hello\n\n'))
    const transform = async function* (events: AsyncIterable<SseEvent>) {
      yield* events
      yield { event: 'done', data: 'all' }
    }
    const factory = httpUpstream(upstream.url, { method: 'POST', body: '{}' })
    await using relay = await relayTo(factory, {
      transform,
      errorEvent: () => ({ event: 'error', data: 'cut' }),
    })
    const client = await answerOf(relay.url)
    expect(client.text).to.equal('data: Hello\n\nevent: error\ndata: cut\n\n')
    await settled(relay)
    expect(relay.summaries[0]?.error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
  })

  it('may not be a function that returns a generator', async () => {
    await using upstream = await serve(stays(wire(1)))
    const generate = async function* (events: AsyncIterable<SseEvent>) {
      yield* events
    }
    const transform = (events: AsyncIterable<SseEvent>) => generate(events)
    await using relay = await relayTo(upstream.url, { transform })
    expect((await answerOf(relay.url)).over).to.equal('broken')
    expect(relay.faults[0])
      .to.be.instanceOf(TypeError)
      .with.property('message')
      .that.includes('async function*')
  })

  it('is not called for a block with an id alone', async () => {
    await using upstream = await serve(stays('id: 7\n\n', wire(8, 'end')))
    const seen: (string | undefined)[] = []
    const transform = (event: SseEvent) => {
      seen.push(event.data)
      return event
    }
    await using relay = await relayTo(upstream.url, { transform, isTerminal: lastIs('end') })
    expect((await answerOf(relay.url)).text).to.equal(`id: 7\n\n${wire(8, 'end')}`)
    expect(seen).to.deep.equal(['end'])
  })

  it("gets the events with onClientGone: 'drain' even if the client disconnected before the upstream answered", async () => {
    let answer = () => {}
    await using upstream = await serve((_, response) => {
      answer = () => stream(response, wire(1), wire(2, 'end'))
    })
    const seen: (string | undefined)[] = []
    const transform = (event: SseEvent) => {
      seen.push(event.data)
      return event
    }
    await using relay = await relayTo(upstream.url, {
      transform,
      onClientGone: 'drain',
      isTerminal: lastIs('end'),
    })
    const client = ask(relay.url)
    await until(
      () => upstream.requests.length === 1,
      () => 'a request',
    )
    client.leave()
    await until(
      () => relay.server.sockets.size === 0,
      () => 'the client is gone',
    )
    answer()
    await settled(relay)
    expect(seen).to.deep.equal(['event 1', 'end'])
  })

  it('that is a slow generator pauses the upstream', async () => {
    await using upstream = await serve((_, response) => flood(response))
    let pass = () => {}
    let events = 0
    const transform = async function* (incoming: AsyncIterable<SseEvent>) {
      for await (const event of incoming) {
        events++
        yield event
        await new Promise<void>((resolve) => {
          pass = resolve
        })
      }
    }
    await using relay = await relayTo(upstream.url, { transform })
    const client = await get(relay.url)
    for (let n = 1; n <= 20; n++) {
      await until(
        () => events === n,
        () => `${events} events`,
      )
      pass()
    }
    expect(await settledBytes(upstream.requests[0]?.socket)).to.be.below(32 * 1024 * 1024)
    client.leave()
    pass()
    await settled(relay)
  })

  it('may add events, also after the last event', async () => {
    await using upstream = await serve(stays(wire(1, 'end')))
    const transform = async function* (events: AsyncIterable<SseEvent>) {
      yield { event: 'hello', data: 'first' }
      yield* events
      yield { event: 'bye', data: 'last' }
    }
    await using relay = await relayTo(upstream.url, { transform, isTerminal: lastIs('end') })
    expect((await answerOf(relay.url)).text).to.equal(
      `event: hello\ndata: first\n\n${wire(1, 'end')}event: bye\ndata: last\n\n`,
    )
  })

  it('may end the stream early: the upstream is closed', async () => {
    await using upstream = await serve(stays(wire(1), wire(2)))
    const transform = async function* (events: AsyncIterable<SseEvent>) {
      for await (const event of events) {
        yield event
        return
      }
    }
    await using relay = await relayTo(upstream.url, { transform })
    expect(await answerOf(relay.url)).to.include({ text: wire(1), over: 'end' })
    await until(
      () => upstream.sockets.size === 0,
      () => 'the upstream closes',
    )
  })

  for (const [name, transform] of Object.entries<NonNullable<RelayOptions['transform']>>({
    'a function': () => {
      throw new Error('own')
    },
    // biome-ignore lint/correctness/useYield: the generator throws before its first event
    'an async function*': async function* () {
      throw new Error('own')
    },
    'an event that cannot be on the wire': () => ({ data: 'x', id: 'a\nb' }),
  })) {
    it(`that throws rejects, and breaks the connection: ${name}`, async () => {
      await using upstream = await serve(stays(wire(1)))
      await using relay = await relayTo(upstream.url, { transform })
      expect(await answerOf(relay.url)).to.include({ over: 'broken' })
      await settled(relay)
      expect(relay.faults[0]).to.be.instanceOf(Error)
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })
  }

  it('runs the finally of a generator when the client disconnects', async () => {
    await using upstream = await serve(stays(wire(1)))
    let isOver = false
    const transform = async function* (events: AsyncIterable<SseEvent>) {
      try {
        yield* events
      } finally {
        isOver = true
      }
    }
    await using relay = await relayTo(upstream.url, { transform })
    const client = await get(relay.url)
    await has(client, 'event 1')
    client.leave()
    await until(
      () => isOver,
      () => 'the generator ends',
    )
  })
})

describe('cursorAsId', () => {
  const event = (n: number) => `data: {"sequence_number":${n}}\n\n`
  const options: RelayOptions = {
    cursorAsId: true,
    cursor: ({ data = '' }) => String(JSON.parse(data).sequence_number),
    isTerminal: ({ data = '' }) => data.includes(':4}'),
    reconnect: fast,
  }

  it('sends the cursor as id, and resumes from it when a client reconnects', async () => {
    await using upstream = await serveInTurn(
      resets(event(1), event(2)),
      stays(`id: other\n${event(3)}${event(4)}`),
      stays(event(4)),
    )
    const factory = ({ cursor, signal }: { cursor: string | undefined; signal: AbortSignal }) => {
      const url = new URL(upstream.url)
      if (cursor !== undefined) url.searchParams.set('starting_after', cursor)
      return fetch(url, { signal })
    }
    await using relay = await relayTo(factory, options)
    const first = await answerOf(relay.url)
    expect(first.text).to.equal([1, 2, 3, 4].map((n) => `id: ${n}\n${event(n)}`).join(''))
    const again = await answerOf(relay.url, { 'last-event-id': '3&include[]=x' })
    expect(again.text).to.equal(`id: 4\n${event(4)}`)
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal([
      '/events',
      '/events?starting_after=2',
      '/events?starting_after=3%26include%5B%5D%3Dx',
    ])
    expect(relay.summaries.map(({ cursor }) => cursor)).to.deep.equal(['4', '4'])
  })

  it('keeps to identity and windowSize', async () => {
    const named = (n: number) => `id: ${n}\n${event(n)}`
    for (const [own, numbers] of [
      [{}, [1, 2, 4]],
      [{ windowSize: 1 }, [1, 2, 1, 4]],
      [{ identity: () => undefined }, [1, 2, 2, 1, 4]],
    ] as const) {
      await using upstream = await serveInTurn(
        resets(named(1), named(2)),
        stays(named(2) + named(1) + named(4)),
      )
      await using relay = await relayTo(upstream.url, { ...options, ...own })
      const { text } = await answerOf(relay.url)
      expect(text, JSON.stringify(own)).to.equal(numbers.map((n) => named(n)).join(''))
    }
  })

  it('requires the option cursor', async () => {
    await using gateway = await serve((req, res) => {
      relaySse(req, res, httpUpstream('http://127.0.0.1:9/'), { cursorAsId: true }).catch((error: Error) =>
        res.end(error.message),
      )
    })
    expect((await answerOf(gateway.url)).text).to.equal(
      'cursorAsId needs the option cursor, which returns the cursor after an event',
    )
  })
})

it("a stream that reconnects before its first event alone passes its upstream's reconnection time on, and waits for it", async () => {
  await using upstream = await serveInTurn(resets('retry: 30\n\n'), stays('data: end\n\n'))
  const delays: number[] = []
  const ignore = () => {}
  const onRetry = (fields: object, text: string) =>
    void (text === 'upstream retry' && delays.push(Object(fields).delay))
  await using relay = await relayTo(upstream.url, {
    resume: 'before-first-event',
    isTerminal: lastIs('end'),
    logger: { debug: onRetry, info: onRetry, warn: onRetry, error: ignore },
  })
  expect((await answerOf(relay.url)).text).to.equal('retry: 30\ndata: end\n\n')
  expect(delays).to.deep.equal([30])
})

describe('a request that is sent once', () => {
  const post = (url: string) => httpUpstream(url, { method: 'POST', body: '{}' })

  it('has an answer that is passed on unchanged: reconnection times, comments and the tail, without a heartbeat within a block', async () => {
    const body = 'retry: 5\n\n: c\ndata:a\n\n{"bare":'
    let finish = () => {}
    await using upstream = await serve((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(body)
      finish = () => response.end('"json"}')
    })
    await using relay = await relayTo(post(upstream.url), { heartbeat: 5 })
    const client = await get(relay.url)
    await has(client, '{"bare":')
    // Time for several heartbeats, which have to wait for the end of the block.
    await new Promise((resolve) => setTimeout(resolve, 50))
    finish()
    expect(await client.ended).to.equal('end')
    expect(client.text).to.equal(`${body}"json"}`)
    expect(upstream.requests).to.have.length(1)
  })

  it('keeps its first event when a byte order mark of the upstream follows a line of the relay', async () => {
    await using upstream = await serve(ends('\ufeffdata: first\n\ndata: second\n\n'))
    await using relay = await relayTo(post(upstream.url), { retry: 3000 })
    expect((await answerOf(relay.url)).text).to.equal('retry: 3000\ndata: first\n\ndata: second\n\n')
    await using plain = await relayTo(post(upstream.url))
    expect((await answerOf(plain.url)).text).to.equal('\ufeffdata: first\n\ndata: second\n\n')
  })

  for (const start of [':\u00ff', '\uff5e', '\u1eff']) {
    it(`keeps a first line that has a byte of the byte order mark, and not the mark: ${start}`, async () => {
      const body = `${start}\ndata: first\n\n`
      await using upstream = await serve(ends(body))
      await using relay = await relayTo(post(upstream.url), { retry: 3000 })
      expect((await answerOf(relay.url)).text).to.equal(`retry: 3000\n${body}`)
    })
  }

  it('is broken without errorEvent when its upstream drops within a block', async () => {
    const errorEvent = () => ({ event: 'error', data: 'cut' })
    for (const [tail, over] of [
      ['data: ha', 'broken'],
      ['', 'end'],
    ] as const) {
      let reset = () => {}
      await using upstream = await serve((request, response) => {
        stream(response, wire(1) + tail)
        reset = () => request.socket.resetAndDestroy()
      })
      await using relay = await relayTo(post(upstream.url), { errorEvent })
      const client = await get(relay.url)
      await has(client, wire(1) + tail)
      reset()
      expect(await client.ended).to.equal(over)
      const failure = over === 'end' ? 'event: error\ndata: cut\n\n' : ''
      expect(client.text).to.equal(wire(1) + tail + failure)
    }
  })

  it('has its reconnection time passed on, even with a transform', async () => {
    await using upstream = await serve(ends('retry: 5\n\ndata: a\n\n'))
    await using relay = await relayTo(post(upstream.url), { transform: (event: SseEvent) => event })
    expect((await answerOf(relay.url)).text).to.equal('retry: 5\ndata: a\n\n')
  })
})
