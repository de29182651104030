import { EventEmitter } from 'node:events'
import http from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { breakWithRequest } from '../../src/http/cut.ts'
import { createResilientSseSource, httpUpstream, type UpstreamFactory } from '../../src/index.ts'
import { dial, read } from '../support/dialling.ts'
import { dataOf, drain, fast, lastIs, wire } from '../support/events.ts'
import { serveRaw } from '../support/server.ts'

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n'

/**
 * Writes a text, and resets the connection once its client has read it: the time, and then turns in which the client reads. A reset that
 * is there when the client reads the text is reported by libuv as the end of the connection.
 */
async function cutAfter(socket: Socket, text: string): Promise<void> {
  socket.write(text)
  await sleep(20)
  for (let n = 0; n < 3; n++) await nextTurn()
  socket.resetAndDestroy()
}

const throughHttp =
  (url: string): UpstreamFactory =>
  ({ headers, signal }) =>
    new Promise((resolve, reject) => http.get(url, { headers, signal }, resolve).on('error', reject))

const bodies = {
  'without a length': ['connection: close\r\n', wire(1)],
  'of HTTP/1.0': ['', wire(1)],
  'with a length': ['content-length: 1000\r\n', wire(1)],
  'in chunks': ['transfer-encoding: chunked\r\n', `${wire(1).length.toString(16)}\r\n${wire(1)}\r\n`],
} as const

describe('a reset of the connection', () => {
  for (const [client, open] of Object.entries({ httpUpstream, 'http.get': throughHttp })) {
    for (const [body, [fields, bytes]] of Object.entries(bodies)) {
      it(`is a drop of a body ${body} through ${client}, and not its end`, async () => {
        const start = body === 'of HTTP/1.0' ? head.replace('HTTP/1.1', 'HTTP/1.0') : head
        await using upstream = await serveRaw((socket, n) => {
          if (n === 0) void cutAfter(socket, `${start}${fields}\r\n${bytes}`)
          else socket.end(`${head}connection: close\r\n\r\n${wire(2)}`)
        })
        const source = createResilientSseSource(open(upstream.url), {
          objectMode: true,
          reconnect: fast,
          isTerminal: lastIs('event 2'),
        })
        expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
        expect(source.stats.drops).to.deep.equal({ end: 0, reset: 1, 'idle-timeout': 0 })
      })
    }

    it(`fails a stream through ${client} that must not reconnect`, async () => {
      await using upstream = await serveRaw((socket) => void cutAfter(socket, `${head}\r\n${wire(1)}`))
      const { error } = await drain(
        createResilientSseSource(open(upstream.url), { resume: 'before-first-event' }),
      )
      expect(error)
        .to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
        .with.nested.property('cause.cause.code', 'ECONNRESET')
    })
  }

  it('is a drop of an adopted response that was not read yet', async () => {
    await using upstream = await serveRaw((socket, n) => {
      if (n === 0) void cutAfter(socket, `${head}\r\n${wire(1)}`)
      else socket.end(`${head}\r\n${wire(2)}`)
    })
    const { signal } = new AbortController()
    const initialResponse = await dial(upstream.url, { signal })
    const closed = new Promise((resolve) => initialResponse.once('close', resolve))
    const source = createResilientSseSource(httpUpstream(upstream.url), {
      initialResponse,
      objectMode: true,
      reconnect: fast,
      isTerminal: lastIs('event 2'),
    })
    await closed
    expect((await dataOf(source)).at(-1)).to.equal('event 2')
    expect(source.stats.drops).to.include({ reset: 1, end: 0 })
  })

  it('fails a body without a length through dialHttp', async () => {
    await using upstream = await serveRaw((socket) => void cutAfter(socket, 'HTTP/1.1 200 OK\r\n\r\nhalf'))
    const error: unknown = await read(dial(upstream.url)).catch((error: unknown) => error)
    expect(error).to.include({ code: 'ECONNRESET' })
  })

  it('after a complete body does not affect that body', async () => {
    await using upstream = await serveRaw(
      (socket) => void cutAfter(socket, 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole'),
    )
    const response = await dial(upstream.url)
    await new Promise((resolve) => response.socket.once('close', resolve))
    expect(await read(Promise.resolve(response))).to.equal('whole')
  })
})

describe('breakWithRequest', () => {
  const responseOf = (req: EventEmitter) => Object.assign(new Readable(), { req })

  it('adds one listener, however often it is called', () => {
    const request = new EventEmitter()
    const response = responseOf(request)
    breakWithRequest(response)
    breakWithRequest(response)
    expect(request.listenerCount('error')).to.equal(1)
  })

  it("adds its listener beside a caller's listener of the same name", () => {
    const prepared = new EventEmitter()
    breakWithRequest(responseOf(prepared))
    const [{ name } = { name: '' }] = prepared.listeners('error')
    // A bundler that shortens names may give a caller's function the name of ours.
    const listener = Object.defineProperty(() => {}, 'name', { value: name })
    const request = new EventEmitter().on('error', listener)
    const response = responseOf(request).on('error', () => {})
    breakWithRequest(response)
    const error = new Error('reset')
    request.emit('error', error)
    expect(response.errored).to.equal(error)
  })
})
