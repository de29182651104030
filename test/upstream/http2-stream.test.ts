import { once } from 'node:events'
import http2, { type ServerHttp2Stream } from 'node:http2'
import net, { type Socket } from 'node:net'
import zlib from 'node:zlib'
import { expect } from 'chai'
import { createResilientSseSource, type UpstreamFactory } from '../../src/index.ts'
import { dataOf, drain, fast, lastIs, wire } from '../support/events.ts'
import { freePort } from '../support/server.ts'
import { until } from '../support/until.ts'

/** A frame of HTTP/2 (RFC 9113, 4.1). */
const frame = (type: number, stream: number, payload: Uint8Array | readonly number[], flags = 0) =>
  Buffer.concat([Buffer.from([0, 0, payload.length, type, flags, 0, 0, 0, stream]), Buffer.from(payload)])

const reset = (code: number) => frame(3, 1, [0, 0, 0, code])
const goAway = frame(7, 0, [0, 0, 0, 1, 0, 0, 0, 0])
const endStream = 1

interface Http2Upstream extends AsyncDisposable {
  readonly session: http2.ClientHttp2Session
  /** The server's ends of the streams so far. */
  readonly streams: ServerHttp2Stream[]
  /** The connection to the client, for frames that no server would send. */
  readonly wire: Socket
}

/** A server, a session with it, and a relay in between that lets a test put frames of its own into the connection. */
async function serveHttp2(onStream: (stream: ServerHttp2Stream, n: number) => void): Promise<Http2Upstream> {
  const streams: ServerHttp2Stream[] = []
  const sockets = new Set<Socket>()
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    return socket
  }
  const server = http2.createServer()
  server.on('sessionError', () => {}).on('session', (session) => session.on('error', () => {}))
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    onStream(stream, streams.push(stream) - 1)
  })
  const port = await listen(server)
  const relay = net.createServer((client) => {
    const back = keep(net.connect(port, '127.0.0.1'))
    keep(client).pipe(back)
    back.on('data', (chunk) => client.destroyed || client.write(chunk))
  })
  const session = http2.connect(`http://127.0.0.1:${await listen(relay)}`)
  session.on('error', () => {})
  const [client]: Socket[] = await once(relay, 'connection')
  if (client === undefined) throw new Error('no connection')
  return {
    session,
    streams,
    wire: client,
    async [Symbol.asyncDispose]() {
      session.destroy()
      for (const socket of sockets) socket.destroy()
      await Promise.all([server, relay].map((each) => new Promise((resolve) => each.close(resolve))))
    },
  }
}

async function listen(server: net.Server | http2.Http2Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

function begin(stream: ServerHttp2Stream, text = wire(1)): void {
  stream.respond({ ':status': 200, 'content-type': 'text/event-stream' })
  stream.write(text)
}

const untilFirst = { objectMode: true, resume: 'before-first-event' } as const

const cuts: Record<string, (upstream: Http2Upstream) => void> = {
  'RST_STREAM with CANCEL': ({ wire }) => wire.write(reset(8)),
  'RST_STREAM with NO_ERROR': ({ wire }) => wire.write(reset(0)),
  'RST_STREAM with INTERNAL_ERROR': ({ wire }) => wire.write(reset(2)),
  'bytes and RST_STREAM with NO_ERROR in one packet': ({ wire: client }) =>
    client.write(Buffer.concat([frame(0, 1, Buffer.from(': x\n')), reset(0)])),
  'GOAWAY and FIN': ({ wire }) => wire.end(goAway),
  FIN: ({ wire }) => wire.end(),
  'a TCP reset': ({ wire }) => wire.resetAndDestroy(),
  'the end of its session': ({ session }) => session.destroy(),
}

const ends: Record<string, (upstream: Http2Upstream) => void> = {
  'END_STREAM alone': ({ wire }) => wire.write(frame(0, 1, [], endStream)),
  'END_STREAM on bytes': ({ wire: client }) => client.write(frame(0, 1, Buffer.from('\n'), endStream)),
  'END_STREAM and RST_STREAM with NO_ERROR': ({ wire }) =>
    wire.write(Buffer.concat([frame(0, 1, [], endStream), reset(0)])),
  'END_STREAM and FIN': ({ wire }) => wire.end(frame(0, 1, [], endStream)),
  trailers: ({ streams: [stream] }) => {
    stream?.once('wantTrailers', () => stream.sendTrailers({ done: 'yes' }))
    stream?.end()
  },
}

/** How factories give a stream: before its head is there, with its head, or bare after somebody has looked at that. */
const ways: Record<string, (upstream: Http2Upstream, post: boolean) => UpstreamFactory> = {
  'as it is': (upstream, post) => () => request(upstream, post),
  'with its head': (upstream, post) => async () => {
    const body = request(upstream, post)
    const [headers] = await once(body, 'response')
    return { statusCode: headers[':status'], headers, body }
  },
  'after its head': (upstream, post) => async () => {
    const stream = request(upstream, post)
    await once(stream, 'response')
    return stream
  },
}

function request({ session }: Http2Upstream, post: boolean): http2.ClientHttp2Stream {
  return session.request({ ':path': '/', ':method': post ? 'POST' : 'GET' }, { endStream: !post })
}

describe('an HTTP/2 stream', () => {
  for (const [way, factoryOf] of Object.entries(ways)) {
    for (const post of [false, true]) {
      const what = `given ${way}, ${post ? 'with an open request' : 'of a GET'},`
      for (const [name, cut] of Object.entries(cuts)) {
        it(`${what} is cut by ${name}`, async () => {
          await using upstream = await serveHttp2((stream) => {
            begin(stream)
          })
          const source = createResilientSseSource(factoryOf(upstream, post), untilFirst)
          source.once('data', () => setImmediate(cut, upstream))
          const { chunks, error } = await drain(source)
          expect(chunks.map(({ data }) => data)).to.deep.equal(['event 1'])
          expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
          expect(source.stats.drops).to.include({ reset: 1, end: 0 })
        })
      }

      for (const [name, end] of Object.entries(ends)) {
        it(`${what} is ended by ${name}`, async () => {
          await using upstream = await serveHttp2((stream) => {
            stream.respond(
              { ':status': 200, 'content-type': 'text/event-stream' },
              { waitForTrailers: name === 'trailers' },
            )
            stream.write(wire(1))
          })
          const source = createResilientSseSource(factoryOf(upstream, post), untilFirst)
          source.once('data', () => setImmediate(end, upstream))
          expect(await dataOf(source)).to.deep.equal(['event 1'])
        })
      }
    }
  }

  it('is ended, or cut, also while it is not read', async () => {
    for (const [bytes, code] of [
      [frame(0, 1, [], endStream), undefined],
      [reset(0), 'ERR_SSE_NOT_RESUMABLE'],
    ] as const) {
      await using upstream = await serveHttp2((stream) => begin(stream, wire(1) + wire(2)))
      const stream = request(upstream, false)
      const source = createResilientSseSource(() => stream, { ...untilFirst, highWaterMark: 1 })
      source.once('readable', () => upstream.wire.write(bytes))
      await until(
        () => stream.closed,
        () => 'the stream closes',
      )
      const { chunks, error } = await drain(source)
      expect(chunks).to.have.length(2)
      expect(Object(error).code).to.equal(code)
    }
  })

  it('is decoded, and is cut even after a complete gzip body', async () => {
    const encoded = zlib.gzipSync(wire(1))
    await using upstream = await serveHttp2((stream, n) => {
      stream.respond({ ':status': 200, 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
      if (n === 0) stream.write(encoded)
      else stream.end(zlib.gzipSync(wire(2)))
    })
    const source = createResilientSseSource(() => request(upstream, false), {
      objectMode: true,
      reconnect: fast,
      isTerminal: lastIs('event 2'),
    })
    source.once('data', () => upstream.wire.write(reset(0)))
    expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2'])
    expect(source.stats.drops).to.include({ reset: 1, end: 0 })
  })

  it('resumes, is retried after a 503, and fails with a 404', async () => {
    const ids: unknown[] = []
    await using upstream = await serveHttp2((stream, n) => {
      if (n === 0) begin(stream, wire(1))
      if (n === 0) stream.end()
      else stream.respond({ ':status': n === 1 ? 503 : 404 }, { endStream: true })
    })
    const source = createResilientSseSource(
      ({ headers }) => {
        ids.push(headers['last-event-id'])
        return upstream.session.request({ ':path': '/', ...headers })
      },
      { objectMode: true, reconnect: fast },
    )
    const { error } = await drain(source)
    expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 404 })
    expect(ids).to.deep.equal([undefined, '1', '1'])
  })

  it('of another content type fails, and a 204 ends the stream', async () => {
    await using upstream = await serveHttp2((stream, n) => {
      if (n === 0) stream.respond({ ':status': 200, 'content-type': 'text/html' })
      else stream.respond({ ':status': 204 }, { endStream: true })
    })
    const open = () => createResilientSseSource(() => request(upstream, false), { objectMode: true })
    expect((await drain(open())).error).to.include({ code: 'ERR_SSE_CONTENT_TYPE' })
    expect(await dataOf(open())).to.deep.equal([])
    await until(
      () => upstream.streams.every(({ destroyed }) => destroyed),
      () => 'the streams close',
    )
  })

  it('that is refused reports sent: false, and a stream that is reset before its head does not', async () => {
    for (const [code, sent] of [
      [7, false],
      [2, undefined],
      [8, undefined],
      [0, undefined],
    ] as const) {
      await using upstream = await serveHttp2(() => upstream.wire.write(reset(code)))
      const { error } = await drain(
        createResilientSseSource(() => request(upstream, false), { reconnect: { maxRetries: 0 } }),
      )
      const { cause } = Object(error)
      expect(cause, `code ${code}`).to.include({ code: 'ERR_SSE_CONNECT' })
      expect(cause.sent, `code ${code}`).to.equal(sent)
    }
  })

  it('that fails with an AggregateError without a message tells its errors', async () => {
    await using upstream = await serveHttp2(() => {})
    const errors = [new Error('connect ECONNREFUSED ::1:1'), new Error('later')]
    const factory = () => {
      const stream = request(upstream, false)
      setImmediate(() => stream.destroy(new AggregateError(errors)))
      return stream
    }
    const { error } = await drain(createResilientSseSource(factory, { reconnect: { maxRetries: 0 } }))
    expect(Object(error).cause.message).to.equal(
      'the upstream could not be reached: ECONNREFUSED ::1:1, later',
    )
  })

  it('of a host whose addresses all fail tells why', async () => {
    const port = await freePort()
    const addresses = ['127.0.0.1', '127.0.0.2']
    const factory = () => {
      const session = http2.connect(`http://upstream.test:${port}`, {
        lookup: (_host, _options, callback) =>
          callback(
            null,
            addresses.map((address) => ({ address, family: 4 })),
          ),
      })
      session.on('error', () => {})
      return session.request({ ':path': '/' })
    }
    const { error } = await drain(createResilientSseSource(factory, { reconnect: { maxRetries: 0 } }))
    for (const address of addresses)
      expect(Object(error).cause.message).to.include(`ECONNREFUSED ${address}:${port}`)
  })

  it('that never answers is closed at connectTimeout, and when its source is destroyed', async () => {
    await using upstream = await serveHttp2(() => {})
    const given: http2.ClientHttp2Stream[] = []
    const open = (options = {}) =>
      createResilientSseSource(() => {
        const stream = request(upstream, false)
        given.push(stream)
        return stream
      }, options)
    const { error } = await drain(open({ connectTimeout: 20, reconnect: { maxRetries: 0 } }))
    expect(Object(error).cause).to.include({ code: 'ERR_SSE_CONNECT_TIMEOUT' })
    const source = open().resume()
    await until(
      () => given.length === 2,
      () => 'a second stream',
    )
    source.destroy()
    await until(
      () => given.every(({ destroyed }) => destroyed),
      () => 'both streams close',
    )
  })
})
