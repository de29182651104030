import http, { type RequestListener } from 'node:http'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import zlib from 'node:zlib'
import { expect } from 'chai'
import { request } from 'undici'
import {
  createResilientSseSource,
  httpUpstream,
  type SourceOptions,
  SseError,
  type UpstreamFactory,
} from '../../src/index.ts'
import { drain, fast, wire } from '../support/events.ts'
import { answers, ends, isLeft, serve, serveInTurn } from '../support/server.ts'
import { until } from '../support/until.ts'

/** The error with which a stream fails, or the last one before its retries were exhausted. */
async function failure(factory: UpstreamFactory, options: SourceOptions = {}): Promise<SseError> {
  const { error } = await drain(createResilientSseSource(factory, { reconnect: fast, ...options }))
  const found = error instanceof SseError && error.code === 'ERR_SSE_RETRIES_EXHAUSTED' ? error.cause : error
  if (!(found instanceof SseError)) throw new Error('no SseError', { cause: found })
  return found
}

const json = '{"error":{"message":"context length exceeded"}}'
const none = { reconnect: { maxRetries: 0 } }

describe("a refusal's body", () => {
  const clients: Record<string, (url: string) => UpstreamFactory> = {
    httpUpstream: (url) => httpUpstream(url),
    fetch: (url) => (context) => fetch(url, context),
    undici: (url) => (context) => request(url, context),
  }
  for (const [client, open] of Object.entries(clients)) {
    it(`is in the error of a 400 through ${client}`, async () => {
      await using server = await serve(answers(400, { 'content-type': 'application/json' }, json))
      const error = await failure(open(server.url))
      expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: 400 })
      expect(error.body?.toString()).to.equal(json)
    })
  }

  it('is the body of the last 503 when the retries are exhausted', async () => {
    await using server = await serve((req, res) => answers(503, {}, `no ${server.requests.length}`)(req, res))
    const error = await failure(httpUpstream(server.url), { reconnect: { ...fast, maxRetries: 2 } })
    expect(error.body?.toString()).to.equal('no 3')
  })

  it('is available to shouldRetry', async () => {
    await using server = await serveInTurn(answers(500, {}, 'try again'), answers(500, {}, 'broken'))
    const shouldRetry = (error: Error) => error instanceof SseError && error.body?.toString() === 'try again'
    const error = await failure(httpUpstream(server.url), { reconnect: { ...fast, shouldRetry } })
    expect(error.body?.toString()).to.equal('broken')
  })

  it('is empty without a body, and absent for other error codes', async () => {
    await using empty = await serve(answers(404, {}, ''))
    expect((await failure(httpUpstream(empty.url))).body).to.deep.equal(Buffer.alloc(0))
    await using page = await serve(answers(200, { 'content-type': 'text/html' }, '<h1>'))
    expect(await failure(httpUpstream(page.url))).to.not.have.property('body')
  })

  for (const [coding, encode] of Object.entries({ gzip: zlib.gzipSync, br: zlib.brotliCompressSync })) {
    it(`is decoded when it is encoded with ${coding}`, async () => {
      await using server = await serve((_, response) => {
        response.writeHead(400, { 'content-encoding': coding }).end(encode(json))
      })
      expect((await failure(httpUpstream(server.url))).body?.toString()).to.equal(json)
    })
  }

  it('is empty for an unknown coding, and holds what could be decoded of a broken body', async () => {
    const answer = (coding: string, bytes: Buffer): RequestListener => {
      return (_, response) => response.writeHead(400, { 'content-encoding': coding }).end(bytes)
    }
    await using unknown = await serve(answer('nonesuch', Buffer.from('x')))
    expect((await failure(httpUpstream(unknown.url))).body?.length).to.equal(0)
    const whole = zlib.gzipSync(json)
    await using broken = await serve(answer('gzip', Buffer.concat([whole.subarray(0, -4), Buffer.alloc(4)])))
    const error = await failure(httpUpstream(broken.url))
    expect(error).to.include({ statusCode: 400 })
    expect(json).to.include(error.body?.toString())
  })

  it('is kept up to 64 KiB, also when a few bytes decode to more', async () => {
    const endless = (response: http.ServerResponse) => {
      const write = () => {
        while (!response.destroyed && response.write('x'.repeat(10_000)));
      }
      response.on('drain', write)
      write()
    }
    await using server = await serveInTurn(
      (_, response) => endless(response.writeHead(400)),
      (_, response) =>
        response
          .writeHead(400, { 'content-encoding': 'gzip', connection: 'close' })
          .end(zlib.gzipSync(Buffer.alloc(10_000_000))),
    )
    for (const n of [1, 2])
      expect((await failure(httpUpstream(server.url))).body?.length, `${n}`).to.equal(65_536)
    await isLeft(server)
  })

  it('that never ends is kept as far as it came in time, and its socket is closed', async () => {
    await using server = await serve((_, response) => response.writeHead(400).write('half'))
    const error = await failure(httpUpstream(server.url), { idleTimeout: 0, connectTimeout: 0 })
    expect(error.body?.toString()).to.equal('half')
    await isLeft(server)
  })

  it('that breaks off is kept as far as it came', async () => {
    await using server = await serve((request, response) => {
      response.writeHead(400, { 'content-length': 1000 }).write('half', () => request.socket.end())
    })
    expect((await failure(httpUpstream(server.url))).body?.toString()).to.equal('half')
  })

  it('of objects is empty', async () => {
    const body = () => Readable.from([{ no: 'bytes' }])
    const error = await failure(() => ({ statusCode: 400, headers: {}, body: body() }))
    expect(error).to.include({ statusCode: 400 }).with.nested.property('body.length', 0)
  })

  it('is closed when the source is destroyed while waiting for the body', async () => {
    await using server = await serve((_, response) => response.writeHead(503).write('half'))
    let closed = false
    const source = createResilientSseSource(async (context) => {
      const response = await httpUpstream(server.url)(context)
      if (response instanceof Readable) response.once('close', () => (closed = true))
      setImmediate(() => source.destroy())
      return response
    }, none)
    await drain(source)
    await until(
      () => closed,
      () => 'the response closes',
    )
    await isLeft(server)
  })

  it('lets its connection serve the next attempt', async () => {
    await using server = await serveInTurn(answers(503), answers(503), answers(503), ends(wire(1)))
    const agent = new http.Agent({ keepAlive: true })
    const ports = new Set<number | undefined>()
    server.server.on('request', ({ socket }) => ports.add(socket.remotePort))
    const source = createResilientSseSource(httpUpstream(server.url, { agent }), {
      reconnect: fast,
      resume: 'with-cursor',
      isTerminal: () => true,
    })
    await drain(source)
    agent.destroy()
    expect(server.requests).to.have.length(4)
    expect(ports.size).to.equal(1)
  })

  it('is not logged, because it may contain secrets', async () => {
    await using server = await serve(answers(400, {}, 'a secret'))
    const error = await failure(httpUpstream(server.url))
    expect(Object.keys(error)).to.not.include('body')
    expect(inspect(error)).to.not.include('secret')
    expect(JSON.stringify(error)).to.not.include('secret')
  })
})
