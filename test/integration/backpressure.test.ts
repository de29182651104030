import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import {
  createResilientSseSource,
  httpUpstream,
  type SseEvent,
  type UpstreamFactory,
} from '../../src/index.ts'
import { drain, fast, next } from '../support/events.ts'
import { flood, serve, settledBytes, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const event = `data: ${'x'.repeat(1000)}\n\n`

/** More than all buffers between two loopback sockets and in the streams hold, less than an unbounded flood sends. */
const bound = 16 * 1024 * 1024

describe('backpressure', () => {
  const clients: Record<string, (url: string) => UpstreamFactory> = {
    'node:http': httpUpstream,
    fetch: (url) => (context) => fetch(url, context),
  }
  for (const [client, open] of Object.entries(clients)) {
    for (const objectMode of [false, true]) {
      it(`pauses an upstream read through ${client} while the client does not read ${objectMode ? 'events' : 'bytes'}`, async () => {
        await using server = await serve((_, response) => flood(response))
        const source = objectMode
          ? createResilientSseSource(open(server.url), { objectMode: true })
          : createResilientSseSource(open(server.url))
        source.read(0)
        await until(
          () => source.readableLength > 0,
          () => 'something to read',
        )
        expect(await settledBytes(server.requests[0]?.socket)).to.be.below(bound)
        expect(source.readableLength).to.be.below(objectMode ? 1000 : 1024 * 1024)
        source.destroy()
      })
    }
  }

  for (const fastPath of [true, false])
    it(`holds after a reconnect as well, with fastPath ${fastPath}`, async () => {
      await using server = await serve((request, response) => {
        if (server.requests.length > 1) flood(response)
        else stream(response).write(event.repeat(100), () => request.socket.resetAndDestroy())
      })
      const source = createResilientSseSource(httpUpstream(server.url), {
        reconnect: fast,
        highWaterMark: 1000,
        fastPath,
      })
      source.read(0)
      if (!fastPath) {
        // Nobody reads: the first connection fills the buffer and drops, and no attempt is made until somebody does. On the
        // fast path the rest of the connection, and with it the drop, waits in the kernel.
        await until(
          () => source.stats.drops.reset === 1 && source.state === 'waiting',
          () => 'the drop',
        )
        expect(server.requests).to.have.length(1)
      }
      await until(
        () => {
          while (source.read() !== null);
          return source.stats.opens === 2
        },
        () => 'a second connection',
      )
      const { bytes } = source.stats
      expect(await settledBytes(server.requests[1]?.socket)).to.be.below(bound)
      expect(source.readableLength).to.be.below(1024 * 1024)
      // And it goes on when somebody does.
      source.resume()
      await until(
        () => source.stats.bytes > bytes + 10 * event.length,
        () => 'the flood goes on',
      )
      source.destroy()
    })

  it('of a slow writer reaches the upstream, and no event is lost', async () => {
    const count = 2000
    await using server = await serve((_, response) => {
      stream(response)
      for (let n = 1; n <= count; n++) response.write(`id: ${n}\n${event}`)
      response.end()
    })
    let received = ''
    const slow = new Writable({
      highWaterMark: 100,
      write(chunk, _, callback) {
        received += chunk
        setImmediate(callback)
      },
    })
    const source = createResilientSseSource(httpUpstream(server.url), {
      isTerminal: (last) => last.id === String(count),
    })
    await pipeline(source, slow)
    expect(received.match(/^id: \d+$/gm)).to.deep.equal(
      Array.from({ length: count }, (_, i) => `id: ${i + 1}`),
    )
  })

  it('does not count as silence of the upstream', async () => {
    await using server = await serve((_, response) => flood(response))
    const source = createResilientSseSource(httpUpstream(server.url), { idleTimeout: 30 })
    source.read(0)
    await until(
      () => source.readableLength > 0,
      () => 'something to read',
    )
    await sleep(100)
    expect(source.stats.drops['idle-timeout']).to.equal(0)
    expect(source.state).to.equal('open')
    source.destroy()
  })

  it('checks for silence again when reading continues', async () => {
    await using server = await serve((_, response) => void stream(response, event.repeat(50)))
    const source = createResilientSseSource(httpUpstream(server.url), { idleTimeout: 40, highWaterMark: 100 })
    source.read(0)
    await until(
      () => source.readableLength > 0,
      () => 'something to read',
    )
    await sleep(80)
    expect(source.stats.drops['idle-timeout']).to.equal(0)
    source.resume()
    expect(await next(source, 'drop')).to.include({ reason: 'idle-timeout' })
    source.destroy()
  })

  it('delays a failure until the events before it were read', async () => {
    await using server = await serve((_, response) => {
      if (server.requests.length > 1) response.writeHead(404).end()
      else stream(response, 'id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n').end()
    })
    const source = createResilientSseSource(httpUpstream(server.url), { objectMode: true, reconnect: fast })
    source.read(0)
    await until(
      () => source.state === 'ended',
      () => 'the failure',
    )
    expect(source.destroyed).to.equal(false)
    const { chunks, error } = await drain(source)
    expect(chunks.map(({ data }: SseEvent) => data)).to.deep.equal(['a', 'b', 'c'])
    expect(error).to.include({ code: 'ERR_SSE_STATUS' })
  })
})

describe('a full reader', () => {
  // node:http reads ahead, and so notices a drop while nobody reads. On the fast path both wait in the kernel.
  const fastPath = false

  it('uses up no retries: attempts wait until the reader has room', async () => {
    let id = 0
    await using server = await serve((request, response) => {
      stream(response).write(`id: ${++id}\n${event}id: ${++id}\n${event}`, () => {
        setImmediate(() => request.socket.resetAndDestroy())
      })
    })
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      highWaterMark: 1,
      reconnect: { ...fast, maxRetries: 2 },
      fastPath,
    })
    source.read(0)
    await until(
      () => source.stats.drops.reset === 1 && source.state === 'waiting',
      () => 'a drop',
    )
    // Long enough for many attempts, of which only three are allowed without progress.
    await sleep(100)
    expect(server.requests).to.have.length(1)
    expect(source.destroyed).to.equal(false)
    const seen: (string | undefined)[] = []
    for await (const { id } of source) {
      seen.push(id)
      if (seen.length === 6) break
    }
    expect(seen.slice(0, 2)).to.deep.equal(['1', '2'])
  })

  it('does not delay destroy()', async () => {
    await using server = await serve((request, response) => {
      stream(response).write(event.repeat(20), () => setImmediate(() => request.socket.resetAndDestroy()))
    })
    const source = createResilientSseSource(httpUpstream(server.url), {
      highWaterMark: 1,
      reconnect: fast,
      fastPath,
    })
    source.read(0)
    await until(
      () => source.stats.drops.reset === 1,
      () => 'a drop',
    )
    await sleep(30)
    source.destroy()
    await new Promise((resolve) => source.once('close', resolve))
    expect(server.requests).to.have.length(1)
  })

  it('gets the remaining bytes before a failure, also in reads of a fixed size', async () => {
    await using server = await serve((_, response) => {
      if (server.requests.length > 1) response.writeHead(404).end()
      else stream(response, 'id: 1\ndata: abcdefghij\n\n').end()
    })
    const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast })
    let text = ''
    const error = await new Promise<unknown>((resolve) => {
      source.on('error', resolve)
      source.on('readable', () => {
        for (let chunk = source.read(10); chunk !== null; chunk = source.read(10)) text += chunk
      })
    })
    expect(text).to.equal('id: 1\ndata: abcdefghij\n\n')
    expect(error).to.include({ code: 'ERR_SSE_STATUS' })
  })
})

describe('limits', () => {
  const endless: Record<string, () => string> = {
    'an endless line': () => 'x'.repeat(10_000),
    'an endless event': () => 'data: x\n'.repeat(1000),
    'an endless event of empty lines': () => 'data\n'.repeat(1000),
    'an endless comment': () => 'x'.repeat(10_000),
  }
  for (const [name, more] of Object.entries(endless)) {
    it(`${name} fails with ERR_SSE_EVENT_TOO_LARGE, at a bounded cost`, async () => {
      await using server = await serve((_, response) => {
        stream(response, name === 'an endless comment' ? ': ' : 'data: ')
        const write = () => {
          while (!response.destroyed && response.write(more()));
        }
        response.on('drain', write)
        response.on('error', () => {})
        write()
      })
      const limit = 1024 * 1024
      const source = createResilientSseSource(httpUpstream(server.url), { maxEventSize: limit })
      const { error } = await drain(source)
      expect(error).to.include({ code: 'ERR_SSE_EVENT_TOO_LARGE' })
      expect(source.stats.bytes).to.be.within(limit, limit * 2)
      expect(server.requests).to.have.length(1)
    })
  }

  it('a megabyte line below the limit passes', async () => {
    const data = 'é'.repeat(500_000)
    await using server = await serve((_, response) => void stream(response, `data: ${data}\n\n`))
    const source = createResilientSseSource(httpUpstream(server.url), {
      objectMode: true,
      isTerminal: () => true,
    })
    const { chunks } = await drain(source)
    expect(chunks[0]?.data === data).to.equal(true)
  })
})
