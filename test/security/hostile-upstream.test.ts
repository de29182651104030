import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import zlib from 'node:zlib'
import { expect } from 'chai'
import { createResilientSseSource, httpUpstream } from '../../src/index.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { drain, wire } from '../support/events.ts'
import { proxyTo, relayTo } from '../support/gateway.ts'
import { ends, isLeft, serve, serveRaw, settledBytes, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const mebibyte = 2 ** 20
/** More than all buffers between two loopback sockets and in the streams hold. */
const bound = 16 * mebibyte

/** Sends a body that is much shorter than what it decodes to. */
function sendGzip(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
  response.on('error', () => {}).write(zlib.gzipSync(text))
}

describe('a hostile upstream', () => {
  describe('that sends a decompression bomb', () => {
    it('of one event fails the stream at maxEventSize, and the rest is not decoded', async () => {
      const text = `data: ${'x'.repeat(8 * mebibyte)}`
      await using server = await serve((_, response) => sendGzip(response, text))
      const source = createResilientSseSource(httpUpstream(server.url), { maxEventSize: mebibyte })
      const { error } = await drain(source)
      expect(error).to.include({ code: 'ERR_SSE_EVENT_TOO_LARGE' })
      expect(source.stats.bytes).to.be.within(mebibyte, 2 * mebibyte)
    })

    for (const [name, block] of [
      ['events', 'data\n\n'],
      ['comments', ':\n'],
    ] as const) {
      it(`of many ${name} is decoded no faster than the client reads`, async () => {
        const text = block.repeat((4 * mebibyte) / block.length)
        await using server = await serve((_, response) => sendGzip(response, text))
        const source = createResilientSseSource(httpUpstream(server.url))
        source.read(0)
        await until(
          () => source.readableLength > 0,
          () => 'something to read',
        )
        let bytes = -1
        while (source.stats.bytes !== bytes) {
          bytes = source.stats.bytes
          // There is no event for "nothing more is decoded".
          await sleep(50)
        }
        expect(bytes).to.be.below(mebibyte)
        expect(source.readableLength).to.be.below(mebibyte)
        source.destroy()
      })
    }
  })

  for (const [name, block] of [
    ['tiny events', 'data\n\n'],
    ['comments', ':\n'],
    ['ids', 'id:1\n\n'],
  ] as const) {
    it(`that sends ${name} without end is paused while the client does not read`, async () => {
      const chunk = block.repeat(5000)
      await using upstream = await serve((_, response) => {
        const write = () => {
          while (!response.destroyed && response.write(chunk));
        }
        stream(response)
          .on('drain', write)
          .on('error', () => {})
        write()
      })
      const responses: ServerResponse[] = []
      await using gateway = await relayTo(httpUpstream(upstream.url))
      gateway.server.server.on('request', (_, response) => responses.push(response))
      using client = ask(gateway.url)
      await has(client, block)
      client.reads(false)
      expect(await settledBytes(upstream.requests[0]?.socket)).to.be.below(bound)
      expect(responses[0]?.writableLength).to.be.below(mebibyte)
    })
  }

  it('whose ids are too long to be sent back gets one more request, and its 431 fails the stream', async () => {
    await using upstream = await serve(ends(wire('i'.repeat(mebibyte), 'x')))
    await using gateway = await relayTo(httpUpstream(upstream.url))
    expect(await answerOf(gateway.url)).to.include({ status: 200, over: 'broken' })
    await until(
      () => gateway.summaries.length > 0,
      () => 'the relay ends',
    )
    expect(gateway.summaries[0]?.error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 431 })
    // The second one was not even parsed.
    expect(upstream.requests).to.have.length(1)
  })

  const endless: Record<string, (socket: Socket) => void> = {
    'heads of informational answers': (socket) =>
      socket.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'),
    'a head, field by field': (socket) =>
      socket.write(socket.bytesWritten === 0 ? 'HTTP/1.1 200 OK\r\n' : 'x: y\r\n'),
  }
  for (const [name, send] of Object.entries(endless)) {
    it(`that sends ${name} without end is timed out, and the client gets a 504`, async () => {
      const timers: NodeJS.Timeout[] = []
      await using upstream = await serveRaw((socket) => timers.push(setInterval(() => send(socket), 5)))
      const options = { connectTimeout: 50, headTimeout: 0 }
      await using relay = await relayTo(httpUpstream(upstream.url), options)
      await using proxy = await proxyTo(upstream.port, { responseTimeout: 50 })
      expect(await answerOf(relay.url)).to.include({ status: 504, over: 'end' })
      expect(await answerOf(proxy.url)).to.include({ status: 504, over: 'end' })
      await isLeft(upstream)
      for (const timer of timers) clearInterval(timer)
    })
  }

  for (const bytes of [
    'garbage\r\n\r\n',
    'HTTP/1.1 099 Odd\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nx: a\x01b\r\ncontent-length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nx: a\r\n b: c\nd\re\r\n\r\n',
    `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
  ]) {
    it(`whose answer is invalid leads to a 502 for the client: ${JSON.stringify(bytes.slice(0, 80))}`, async () => {
      await using upstream = await serveRaw((socket) => socket.write(bytes, 'latin1'))
      await using relay = await relayTo(httpUpstream(upstream.url), { headTimeout: 0 })
      await using proxy = await proxyTo(upstream.port)
      expect(await answerOf(relay.url)).to.include({ status: 502, over: 'end' })
      expect(await answerOf(proxy.url)).to.include({ status: 502, over: 'end' })
      await isLeft(upstream)
    })
  }

  for (const when of ['at once', 'on the idle connection'] as const) {
    it(`that sends a second answer after the first, ${when}, reaches no client with it`, async () => {
      const answer = (text: string) =>
        `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${text.length}\r\n\r\n${text}`
      let sent = 0
      await using upstream = await serveRaw((socket, n) => {
        const poison = () => socket.write(answer('forged'), () => sent++)
        socket.write(answer(`own ${n}`) + (when === 'at once' ? answer('forged') : ''))
        if (when !== 'at once') setImmediate(poison)
        else sent++
      })
      await using proxy = await proxyTo(upstream.port)
      for (const n of [0, 1, 2]) {
        expect(await answerOf(proxy.url)).to.include({ status: 200, text: `own ${n}` })
        await until(
          () => sent === n + 1,
          () => 'the second answer is sent',
        )
      }
    })
  }

  for (const head of [
    'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
  ]) {
    it(`that changes protocols unasked leads to a 502 for the proxy's client: ${JSON.stringify(head)}`, async () => {
      await using upstream = await serveRaw((socket) => socket.write(head))
      await using proxy = await proxyTo(upstream.port, { connectTimeout: 0 })
      expect(await answerOf(proxy.url)).to.include({ status: 502, over: 'end' })
    })
  }

  it("whose reason phrase cannot be written leads to a 502 for the proxy's client", async () => {
    await using upstream = await serveRaw((socket) =>
      socket.write('HTTP/1.1 200 a\x01b\r\ncontent-length: 0\r\n\r\n'),
    )
    await using proxy = await proxyTo(upstream.port)
    expect(await answerOf(proxy.url)).to.include({ status: 502, over: 'end' })
  })

  it('that names a thousand codings is not decoded', async () => {
    await using server = await serve((_, response) => {
      response.writeHead(200, {
        'content-type': 'text/event-stream',
        'content-encoding': Array(1000).fill('gzip').join(),
      })
      response.write('x')
    })
    const { error } = await drain(createResilientSseSource(httpUpstream(server.url)))
    expect(error).to.include({ code: 'ERR_SSE_CONTENT_TYPE' })
  })
})
