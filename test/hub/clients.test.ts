import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { mock } from 'node:test'
import { expect } from 'chai'
import {
  createDrain,
  createSseHub,
  httpUpstream,
  type SharedStreamOptions,
  type SseEvent,
} from '../../src/index.ts'
import { answerOf, ask, get, has, readEvents, request } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, idOf, serveHub } from '../support/hub.ts'
import { isLeft, resets, serve, serveInTurn, stream } from '../support/server.ts'
import { holdTime } from '../support/time.ts'
import { until } from '../support/until.ts'

/** An upstream whose events the test sends. */
async function feedOf(first = '') {
  const server = await serve((_, response) => {
    stream(response, first)
    send = (text) => void response.write(text)
  })
  let send = (_: string) => {}
  return { server, url: server.url, send: (text: string) => send(text), [Symbol.asyncDispose]: server.close }
}

/** A client that keeps only the numbers at which the data of its events begins, and the status events. */
async function count(url: string) {
  const seen: (number | string)[] = []
  const body = await request(url)
  const ended = readEvents(body, ({ data = '' }) => {
    seen.push(data.startsWith('{') ? data : Number.parseInt(data, 10))
  })
  const reaches = (n: number) =>
    until(
      () => seen.at(-1) === n,
      () => `event ${n} after ${seen.at(-1)}`,
    )
  return { seen, body, ended, reaches, [Symbol.dispose]: () => void body.destroy() }
}

const big = (n: number, size = 65_536) => wire(n, `${n}:${'x'.repeat(size)}`)

describe('a client of a shared stream', () => {
  it('that does not read does not delay others, and is disconnected after stallTimeout', async () => {
    await using upstream = await feedOf(big(1, 1))
    const options = { from: 'start', stallTimeout: 100, hub: { windowBytes: 100_000 } } as const
    await using feed = await serveHub(upstream.url, options)
    using reader = await count(feed.url)
    const stalled = await get(feed.url)
    stalled.reads(false)
    await reader.reaches(1)
    for (let n = 2; feed.summaries.length === 0; n++) {
      upstream.send(big(n))
      await reader.reaches(n)
    }
    expect(feed.summaries[0]).to.include({ outcome: 'slow' })
    expect(feed.summaries[0]?.error).to.include({ code: 'ERR_SSE_SLOW_CLIENT' })
    stalled.reads(true)
    expect(await stalled.ended).to.equal('broken')
    expect(reader.body.destroyed).to.equal(false)
  })

  /** A feed with a client that reads, and one that did not read while more was sent than the connection can hold. */
  async function fallBehind(options: SharedStreamOptions) {
    const upstream = await feedOf(big(1, 1))
    const feed = await serveHub(upstream.url, { ...options, from: 'start', hub: { windowBytes: 1000 } })
    const reader = await count(feed.url)
    const slow = await count(feed.url)
    await reader.reaches(1)
    slow.body.pause()
    for (let n = 2; n <= last; n++) {
      upstream.send(big(n))
      await reader.reaches(n)
    }
    slow.body.resume()
    const close = async () => {
      slow.body.destroy()
      reader.body.destroy()
      await feed[Symbol.asyncDispose]()
      await upstream.server.close()
    }
    return { upstream, reader, slow, [Symbol.asyncDispose]: close }
  }
  const last = 200

  it('that is slow reads pages of the store, and gets every event once', async () => {
    await using both = await fallBehind({ retention: { bytes: 64 * 1024 * 1024 } })
    await both.slow.reaches(last)
    both.upstream.send(big(last + 1, 1))
    await both.slow.reaches(last + 1)
    expect(both.slow.seen).to.deep.equal(both.reader.seen)
  })

  it('that is slow and falls behind the retention gets a gap', async () => {
    await using both = await fallBehind({ retention: { events: 2 }, statusEvents: true })
    await both.slow.reaches(last)
    const gap = both.slow.seen.indexOf('{"status":"gap"}')
    expect(gap).to.be.above(0)
    expect(both.slow.seen.slice(0, gap)).to.deep.equal(both.reader.seen.slice(0, gap))
    expect(both.slow.seen.slice(gap + 1)).to.deep.equal(
      both.reader.seen.slice(gap + 1 - both.slow.seen.length),
    )
  })

  it('that is slow and falls behind the retention is disconnected with onGap refuse', async () => {
    await using both = await fallBehind({ retention: { events: 2 }, onGap: 'refuse' })
    expect(await both.slow.ended).to.be.instanceOf(Error)
    expect(both.slow.seen).to.deep.equal(both.reader.seen.slice(0, both.slow.seen.length))
  })

  it('that does not read costs at most 64 kB or one larger event, and gets every event when it reads again', async () => {
    for (const [size, events, fastPath] of [
      [60_000, 1, true],
      [150, 400, true],
      [150, 400, false],
      [1000, 60, true],
      [10_000, 6, false],
      [100_000, 1, true],
    ] as const) {
      await using upstream = await feedOf(big(1, 1))
      const retention = { bytes: 64 * 1024 * 1024, events: 100_000 }
      const options = { from: 'start', stallTimeout: 0, retention, fastPath } as const
      await using feed = await serveHub(upstream.url, options)
      const responses: ServerResponse[] = []
      feed.server.server.on('request', (_, res) => responses.push(res))
      using reader = await count(feed.url)
      await reader.reaches(1)
      using stalled = await count(feed.url)
      await stalled.reaches(1)
      stalled.body.pause()
      let most = 0
      let n = 1
      const send = async () => {
        upstream.send(Array.from({ length: events }, () => big(++n, size)).join(''))
        await reader.reaches(n)
        most = Math.max(most, responses[1]?.writableLength ?? 0)
      }
      while (most === 0) await send()
      for (let more = 0; more < 20; more++) await send()
      const larger = size > 64_000 ? size + 100 : 0
      expect(most, `${events} events of ${size} bytes`).to.be.within(1, Math.max(64_000, larger))
      stalled.body.resume()
      await stalled.reaches(n)
      expect(stalled.seen).to.deep.equal(reader.seen)
    }
  })

  it('gets an event that is larger than the window and the retention', async () => {
    await using upstream = await feedOf(wire(1))
    await using feed = await serveHub(upstream.url, { retention: { bytes: 1 }, hub: { windowBytes: 0 } })
    const clients = await Promise.all([get(feed.url), get(feed.url)])
    for (const client of clients) await has(client, 'event 1')
    upstream.send(big(2, 3_000_000))
    upstream.send(wire(3))
    for (const client of clients) await has(client, 'event 3')
    for (const client of clients) expect(client.text.length).to.be.above(3_000_000)
    using late = ask(feed.url, { 'last-event-id': idOf(clients[0] ?? { text: '' }, '2:x+') })
    await has(late, 'event 3')
    for (const client of clients) client.leave()
  })

  it('gets heartbeats while the stream is silent and while the upstream is away', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), (request) => request.socket.pause())
    await using feed = await serveHub(upstream.url, { heartbeat: 10, statusEvents: true })
    using client = ask(feed.url, eventSource)
    await has(client, '{"status":"reconnecting"}\n\n:\n:\n')
    using late = ask(feed.url, { ...eventSource, 'last-event-id': idOf(client, 'event 1') })
    await until(
      () => feed.server.requests.length === 2,
      () => 'the late client asks',
    )
    await has(client, ':\n:\n:\n:\n')
    late.leave()
  })

  it('gets no heartbeat with 0', async () => {
    await using upstream = await feedOf(wire(1))
    await using silent = await serveHub(upstream.url, { heartbeat: 0, maxAge: 200 })
    const client = await answerOf(silent.url, eventSource)
    expect(client.text).to.not.include(':\n:')
    expect(client.text).to.match(/data: event 1\n\nretry: 1000\n$/)
    expect(silent.summaries[0]).to.include({ outcome: 'expired' })
  })

  it('gets the buffer of the latest events that all clients get: their number costs no copies', async () => {
    await using upstream = await feedOf(wire(1))
    await using feed = await serveHub(upstream.url, { from: 'start' })
    const written: unknown[][] = []
    feed.server.server.prependListener('request', (_, res: ServerResponse) => {
      const chunks: unknown[] = []
      written.push(chunks)
      const write = mock.method(res, 'write')
      res.on('close', () => chunks.push(...write.mock.calls.map((call) => call.arguments[0])))
    })
    const clients = [await get(feed.url), await get(feed.url), await get(feed.url)]
    for (const client of clients) await has(client, 'event 1')
    upstream.send(wire(2))
    for (const client of clients) await has(client, 'event 2')
    for (const client of clients) client.leave()
    await until(
      () => feed.summaries.length === clients.length,
      () => 'all clients have left',
    )
    const buffers = written.map((chunks) => chunks.find((chunk) => String(chunk).includes('event 2')))
    expect(buffers[0]).to.be.instanceOf(Buffer)
    expect(new Set(buffers)).to.have.property('size', 1)
  })

  for (const [part, random, leastAge] of [
    ['a tenth less than maxAge', 1, 9000],
    ['maxAge', 0, 10_000],
  ] as const) {
    it(`has a response that ends after ${part} when chance wants it`, async () => {
      using time = holdTime()
      mock.method(Math, 'random', () => random)
      await using upstream = await feedOf(wire(1))
      await using feed = await serveHub(upstream.url, { maxAge: 10_000 })
      using client = await get(feed.url, eventSource)
      await has(client, 'event 1')
      // The limit is noticed at most a quarter of the shortest limit late, which is 500 ms here.
      for (let passed = 0; passed < leastAge - 100; passed += 100) await time.pass(99)
      expect(feed.summaries).to.deep.equal([])
      for (let passed = 0; passed < 700; passed += 100) await time.pass(99)
      expect(feed.summaries).to.have.length(1)
      expect(feed.summaries[0]).to.include({ outcome: 'expired' })
    })
  }

  it('gets the events that the transform makes, each made once for all clients', async () => {
    let calls = 0
    const transforms = {
      function: (event: SseEvent) => {
        calls++
        return event.data === 'event 2' ? undefined : { ...event, data: event.data?.toUpperCase() }
      },
      async *generator(events: AsyncIterable<SseEvent>) {
        for await (const event of events) {
          calls++
          if (event.data !== 'event 2') yield { ...event, data: event.data?.toUpperCase() }
        }
      },
    }
    for (const transform of Object.values(transforms)) {
      calls = 0
      await using upstream = await feedOf(wire(1) + wire(2) + wire(3))
      await using feed = await serveHub(upstream.url, { transform, from: 'start' })
      using one = ask(feed.url)
      using two = ask(feed.url)
      await has(one, 'EVENT 3')
      await has(two, 'EVENT 3')
      expect(dataIn(one)).to.deep.equal(['EVENT 1', 'EVENT 3'])
      expect(dataIn(two)).to.deep.equal(['EVENT 1', 'EVENT 3'])
      expect(idOf(one, 'EVENT 3')).to.match(/^\d+-2\/3$/)
      expect(calls).to.equal(3)
    }
  })

  it("gets the upstream's place with each event, also when the transform makes a new event", async () => {
    await using upstream = await feedOf(wire('a', 'event 1') + wire('b', 'event 2'))
    const transform = ({ data }: SseEvent) => ({ data: `${data}!` })
    await using feed = await serveHub(upstream.url, { transform, from: 'start' })
    using client = ask(feed.url)
    await has(client, 'event 2!')
    expect(idOf(client, 'event 1!')).to.match(/^\d+-1\/a$/)
    expect(idOf(client, 'event 2!')).to.match(/^\d+-2\/b$/)
  })

  it('gets the head alone for HEAD, and opens no upstream', async () => {
    await using upstream = await feedOf()
    await using feed = await serveHub(upstream.url)
    const answer = await fetch(feed.url, { method: 'HEAD' })
    expect(answer.headers.get('content-type')).to.equal('text/event-stream')
    expect(upstream.server.requests).to.have.length(0)
    expect(await feed.hub.status('/events')).to.equal(undefined)
  })

  it('opens no upstream before its turn on a pipelined connection', async () => {
    await using upstream = await feedOf(wire(1))
    await using feed = await serveHub(upstream.url)
    const socket = net.connect(feed.server.port, '127.0.0.1').on('error', () => {})
    const ask = (path: string) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`
    socket.write(ask('/one') + ask('/two'))
    await once(socket, 'data')
    await until(
      () => feed.server.requests.length === 2,
      () => 'both requests arrive',
    )
    expect(await feed.hub.status('/two')).to.equal(undefined)
    socket.destroy()
    await until(
      () => feed.summaries.length === 2,
      () => 'both relays end',
    )
    expect(feed.summaries.map(({ outcome }) => outcome)).to.deep.equal(['client-gone', 'client-gone'])
  })

  it('is aborted by its own signal, and no other client with it', async () => {
    await using upstream = await feedOf(wire(1))
    const hub = createSseHub()
    const abort = new AbortController()
    await using server = await serve((req, res) => {
      const signal = req.url === '/aborted' ? abort.signal : undefined
      void hub.relay(req, res, 'feed', httpUpstream(upstream.url), { signal })
    })
    const [aborted, other] = [ask(server.url.replace('events', 'aborted')), ask(server.url)]
    await has(aborted, 'event 1')
    await has(other, 'event 1')
    abort.abort()
    expect(await aborted.ended).to.equal('broken')
    upstream.send(wire(2))
    await has(other, 'event 2')
    other.leave()
    await hub.close()
  })

  it('is let go by a drain, and comes back with its id', async () => {
    await using upstream = await feedOf(wire(1))
    const drain = createDrain()
    await using feed = await serveHub(upstream.url, { drain })
    using client = ask(feed.url, eventSource)
    await has(client, 'event 1')
    await drain.start({ spread: 0 })
    expect(await client.ended).to.equal('end')
    expect(client.text).to.match(/retry: 1000\n$/)
    expect(feed.summaries[0]).to.deep.include({ outcome: 'drained' })
    expect(drain.dismissed).to.equal(1)
  })

  it('gets a retry and the end when the hub closes; the connections of others are broken', async () => {
    await using upstream = await feedOf(wire(1))
    await using feed = await serveHub(upstream.url)
    using browser = ask(feed.url, eventSource)
    using program = ask(feed.url, { accept: 'application/json' })
    await has(browser, 'event 1')
    await has(program, 'event 1')
    await feed.hub.close()
    expect(await browser.ended).to.equal('end')
    expect(browser.text).to.match(/retry: 1000\n$/)
    expect(await program.ended).to.equal('broken')
    await isLeft(upstream.server)
    const late = await answerOf(feed.url, eventSource)
    expect(late).to.include({ status: 200, over: 'end' })
    expect(late.text).to.match(/^retry: \d+\n$/)
  })

  it('over HTTP/2 shares the stream with the others', async () => {
    await using upstream = await feedOf(wire(1))
    const hub = createSseHub()
    const server = http2.createServer((req, res) => {
      void hub.relay(req, res, 'feed', httpUpstream(upstream.url))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const session = http2.connect(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`)
    const requests = [session.request({ ':path': '/' }), session.request({ ':path': '/' })]
    const texts = requests.map((request) => {
      const client = { text: '' }
      request.setEncoding('utf8').on('data', (chunk: string) => {
        client.text += chunk
      })
      return client
    })
    await until(
      () => texts.every(({ text }) => text.includes('event 1')),
      () => JSON.stringify(texts),
    )
    expect(upstream.server.requests).to.have.length(1)
    session.destroy()
    await hub.close()
    await isLeft(upstream.server)
    server.close()
  })
})
