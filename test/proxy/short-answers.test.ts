import { AsyncLocalStorage } from 'node:async_hooks'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net, { type AddressInfo, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { areRequestsProven } from '../../src/http/request-check.ts'
import { createSseProxy, type SseEvent } from '../../src/index.ts'
import { type Options, proxyTo, raw, rawGet, reports } from '../support/proxy.ts'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'

/** What an upstream does after the head of a request: it writes bytes, waits until they are read, or closes the connection. */
type Step = string | 'wait' | 'FIN' | 'reset' | (() => void)

interface RawUpstream extends AsyncDisposable {
  readonly port: number
  /** The heads of all requests. */
  readonly heads: string[]
  readonly sockets: readonly Socket[]
}

/** An upstream that answers request n with script n, and further requests with the last one. */
async function serveScripts(...scripts: readonly (readonly Step[])[]): Promise<RawUpstream> {
  const heads: string[] = []
  const sockets: Socket[] = []
  const run = async (socket: Socket, steps: readonly Step[]) => {
    for (const step of steps) {
      if (typeof step === 'function') step()
      else if (step === 'FIN') socket.end()
      else if (step === 'reset') socket.resetAndDestroy()
      else if (step === 'wait') for (let n = 0; n < 3; n++) await nextTurn()
      else socket.write(step, 'latin1')
    }
  }
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.push(socket)
    let head = ''
    socket
      .on('error', () => {})
      .on('data', (bytes) => {
        head += bytes.toString('latin1')
        if (!head.endsWith('\r\n\r\n')) return
        heads.push(head)
        head = ''
        void run(socket, scripts[heads.length - 1] ?? scripts.at(-1) ?? [])
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { port }: AddressInfo = address
  return {
    port,
    heads,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

const answer = (body: string, ...fields: string[]) =>
  `${['HTTP/1.1 200 OK', ...fields, `content-length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`
const first = [answer('first')]
const eventStream = ['HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n', 'data: a\n\n']

/** A proxy on a server of node:http2, and a client of it. */
async function serveHttp2({ port }: RawUpstream, onError: (error: Error) => void = () => {}) {
  const listener = createSseProxy({ upstream: `http://127.0.0.1:${port}`, onError })
  const server = http2.createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const own = address !== null && typeof address === 'object' ? address.port : 0
  const session = http2.connect(`http://127.0.0.1:${own}`)
  return {
    /** The status and the body of an answer. */
    async ask(path: string): Promise<unknown[]> {
      const stream = session.request({ ':path': path })
      const [headers]: http2.IncomingHttpHeaders[] = await once(stream, 'response')
      return [Number(headers?.[':status']), await text(stream)]
    },
    async [Symbol.asyncDispose]() {
      session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The answer of a proxy, without the time in it. */
interface Seen {
  readonly status: string
  readonly fields: string[]
  readonly body: string
}

function get(url: string, options: http.RequestOptions = {}): Promise<Seen | string> {
  return new Promise((resolve) => {
    const request = http.request(url, { agent: false, ...options }, async (response) => {
      const body = await text(response.setEncoding('latin1')).catch(
        (error: NodeJS.ErrnoException) => error.code,
      )
      const fields = response.rawHeaders.filter(
        (_, n) => !/^date$/i.test(response.rawHeaders[n - (n % 2)] ?? ''),
      )
      resolve({ status: `${response.statusCode} ${response.statusMessage}`, fields, body: String(body) })
    })
    request.on('error', (error) => resolve(error.message)).end()
  })
}

const ways: Readonly<Record<string, Options>> = {
  'past node:http': { agent: undefined },
  'through node:http': { agent: undefined, relay: { fastPath: false } },
}

/** What a client gets for its second request, and what the upstream gets, in both ways. */
async function bothWays(
  scripts: readonly (readonly Step[])[],
  options: http.RequestOptions & { readonly target?: string } = {},
) {
  const seen = []
  for (const way of Object.values(ways)) {
    await using upstream = await serveScripts(first, ...scripts)
    await using proxy = await proxyTo(upstream, way)
    // The first answer leaves an idle connection.
    await get(proxy.url)
    await nextTurn()
    const client = await get(`${proxy.url}${options.target ?? '/'}`, options)
    const again = await get(proxy.url)
    const port = String(proxy.server.port)
    const heads = upstream.heads.map((head) => head.replaceAll(port, 'PORT').replace(/upstream \d+/g, ''))
    const hosts = heads.map((head) => head.replaceAll(String(upstream.port), 'UPSTREAM'))
    seen.push({
      client,
      again,
      heads: hosts,
      connections: upstream.sockets.length,
      errors: proxy.errors.map(String),
    })
  }
  const [past, through] = seen
  return { past, through }
}

describe('a short answer through a proxy, on an idle connection', () => {
  before(async () => {
    await using upstream = await serveScripts(first)
    await using _ = await proxyTo(upstream, ways['past node:http'])
    // The check of this version of Node takes some turns.
    await until(areRequestsProven, () => 'the check')
  })

  const allBytes = Array.from({ length: 256 }, (_, n) => String.fromCharCode(n)).join('')
  const usual: Readonly<Record<string, readonly Step[]>> = {
    'no byte': [answer('')],
    'all bytes': [answer(allBytes)],
    'the longest body': [answer('x'.repeat(9999))],
    'a body that is longer': [answer('x'.repeat(10_000))],
    'a body of 70,000 bytes': [answer('x'.repeat(70_000))],
    'repeated fields': [answer('a', 'Set-Cookie: a=1', 'set-cookie: b=2', 'X-A: b')],
    'another status and reason': [answer('no').replace('200 OK', '404 Not here')],
    'a reason with other characters': [answer('no').replace('200 OK', '299 fä')],
    'no reason': [answer('no').replace('200 OK', '200 ')],
    'an empty value': [answer('a', 'x-a: ', 'x-b:b', 'x-c:\tc\t')],
    'a value of other characters': [answer('a', 'x-a: \xe4 b')],
    'a field of one connection': [answer('a', 'connection: X-A, keep-alive', 'X-A: 1')],
    'keep-alive': [answer('a', 'Connection: keep-alive', 'Keep-Alive: timeout=5')],
    'an event stream': [answer('data: a\n\n', 'content-type: text/event-stream')],
    'no length': ['HTTP/1.1 200 OK\r\nx-a: b\r\n\r\nabc', 'FIN'],
    chunks: ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'],
    'chunks and trailers': [
      'HTTP/1.1 200 OK\r\ntrailer: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n',
    ],
    'a length and chunks': [answer('3\r\nabc\r\n0\r\n\r\n', 'transfer-encoding: chunked')],
    'two lengths': [answer('abc', 'content-length: 4')],
    'a length with a sign': [answer('abc').replace('length: 3', 'length: +3')],
    'a length with leading zeros': [answer('abc').replace('length: 3', 'length: 0003')],
    'status 204': ['HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n'],
    'status 204 with a length': ['HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n'],
    'status 304 with a length': ['HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n'],
    'status 304 without a length': ['HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n'],
    'status 304 with a body': [answer('abc').replace('200 OK', '304 Not Modified'), 'wait', 'FIN'],
    'a time of 310 digits': [answer('abc', `keep-alive: timeout=${'9'.repeat(310)}`)],
    'a time of 310 digits, in chunks': [
      `HTTP/1.1 200 OK\r\nkeep-alive: timeout=${'9'.repeat(310)}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    'an early hint before it': ['HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n', answer('abc')],
    'a 101': ['HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\nconnection: upgrade\r\n\r\n'],
    'HTTP/1.0': [answer('abc').replace('1.1', '1.0'), 'FIN'],
    'the end of a connection that the server leaves open': [answer('abc', 'connection: close')],
    'HTTP/1.0 on a connection that the server leaves open': [answer('abc').replace('1.1', '1.0')],
    'the end of the connection': [answer('abc', 'connection: close'), 'FIN'],
    'the end of the connection, announced as for a proxy': [answer('abc', 'proxy-connection: close'), 'FIN'],
    'a second answer behind it': [answer('abc') + answer('def')],
    'line ends behind it': [`${answer('abc')}\r\n`],
    'two parts': [answer('abc').slice(0, -1), 'wait', 'c'],
    'a head alone at first': [answer('abc').slice(0, -3), 'wait', 'abc'],
    'a head of 20 kB': [answer('a', `x-a: ${'b'.repeat(20_000)}`)],
    'a fold': [answer('a', 'x-a: b\r\n c')],
    'a space before the colon': [answer('a', 'x-a : b')],
    'no colon': [answer('a', 'x-a')],
    'a NUL': [answer('a', 'x-a: \0')],
    'no HTTP': ['hello\r\n\r\n'],
    'line feeds alone': [answer('a').replaceAll('\r\n', '\n')],
    'no byte before the end': ['FIN'],
    'no byte before a reset': ['reset'],
    'half a head before the end': ['HTTP/1.1 200 OK\r\ncontent-l', 'wait', 'FIN'],
    'half a head before a reset': ['HTTP/1.1 200 OK\r\ncontent-l', 'wait', 'reset'],
    'half a body before the end': [answer('abc').slice(0, -1), 'wait', 'FIN'],
    'a byte too many': [`${answer('abc')}d`],
    'a server that closes soon': [answer('abc', 'keep-alive: timeout=1')],
  }
  for (const [what, script] of Object.entries(usual)) {
    it(`is the same past and through node:http: ${what}`, async () => {
      const { past, through } = await bothWays([script, [answer('last')]])
      expect(past).to.deep.equal(through)
      expect(past?.heads.length).to.be.at.least(3)
    })
  }

  it('is the same wherever it is cut', async () => {
    const whole = answer('abc', 'x-a: b')
    const cuts = Array.from({ length: whole.length - 1 }, (_, n) => n + 1)
    const scripts = cuts.map((at) => [whole.slice(0, at), 'wait', whole.slice(at)])
    await using upstream = await serveScripts(first, ...scripts)
    await using proxy = await proxyTo(upstream, ways['past node:http'])
    await get(proxy.url)
    for (const at of cuts) expect(await get(proxy.url), `cut at ${at}`).to.have.property('body', 'abc')
    expect(proxy.errors).to.deep.equal([])
    expect(upstream.sockets).to.have.length(1)
  })

  const requests: Readonly<Record<string, http.RequestOptions & { readonly target?: string }>> = {
    'fields in their order': {
      headers: { 'X-B': '1', accept: '*/*', 'x-a': ['1', '2'], 'user-agent': 'ä' },
    },
    'a query': { target: '/a/b%20c?d=e&f' },
    'several cookies': { headers: { cookie: ['a=1', 'b=2'] } },
    te: { headers: { te: 'trailers', connection: 'te' } },
    'a length of 0': { headers: { 'content-length': '0' } },
    'an expectation': { headers: { expect: '100-continue' } },
    'an event stream': { headers: { accept: 'text/event-stream' } },
    HEAD: { method: 'HEAD' },
    POST: { method: 'POST' },
    OPTIONS: { method: 'OPTIONS' },
  }
  for (const [what, options] of Object.entries(requests)) {
    it(`is asked for with the same head: ${what}`, async () => {
      const { past, through } = await bothWays([[answer('')]], options)
      expect(past).to.deep.equal(through)
      expect(past?.connections).to.equal(1)
    })
  }

  for (const [what, fields, expected] of [
    ['with the lines of several cookies in one', ['cookie: a=1', 'cookie: b=2'], /\r\ncookie: a=1; b=2\r\n/],
    [
      'with names of digits where node:http has them',
      ['b: 1', '7: 2', '3: 3'],
      /^GET \/ HTTP\/1.1\r\n3: 3\r\n7: 2\r\n/,
    ],
  ] as const) {
    it(`is asked for ${what}`, async () => {
      await using upstream = await serveScripts(first)
      await using proxy = await proxyTo(upstream, ways['past node:http'])
      await get(proxy.url)
      await raw(proxy.server.port, rawGet('/', ...fields))
      expect(upstream.heads[1]).to.match(expected)
    })
  }

  it('has as many fields as node:http keeps', async () => {
    const many = answer('a', ...Array.from({ length: 1200 }, () => 'a: b'))
    const counts = []
    for (const way of Object.values(ways)) {
      await using upstream = await serveScripts(first, [many])
      await using proxy = await proxyTo(upstream, way)
      await get(proxy.url)
      const bytes = await raw(proxy.server.port, rawGet('/'))
      counts.push(bytes.split('\r\n').filter((line) => line === 'a: b').length)
    }
    const [past, through] = counts
    expect(past).to.equal(through)
    expect(past).to.be.below(1200)
  })

  it('is answered with 502 when a middleware refuses its head', async () => {
    const bad = `HTTP/1.1 200 OK\r\ncontent-length: 6\r\nset-cookie: a=1\r\nx-bad: 1\r\n\r\nsecond`
    await using upstream = await serveScripts(first, [bad])
    const errors: Error[] = []
    const listener = createSseProxy({
      upstream: `http://127.0.0.1:${upstream.port}`,
      onError: (error) => errors.push(error),
    })
    await using server = await serve((req, res) => {
      const { setHeader } = res
      res.setHeader = (...args) => {
        if (args[0] === 'x-bad') throw new Error('bad')
        return setHeader.apply(res, args)
      }
      res.setHeader('x-frame-options', 'DENY')
      listener(req, res)
    })
    await get(server.url)
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (let n = 0; n < 2; n++) {
      const { fields, ...seen } = Object(await get(server.url, { agent }))
      expect(seen).to.deep.equal({ status: '502 Bad Gateway', body: '502 Bad Gateway\n' })
      for (const part of ['set-cookie', '6']) expect(fields).not.to.include(part)
    }
    agent.destroy()
    expect(errors.map(String)).to.deep.equal(['Error: bad', 'Error: bad'])
  })

  it('is answered with 502 where node:http2 refuses a field that is repeated', async () => {
    const errors: Error[] = []
    const repeated = answer('second', 'etag: "a"', 'etag: "b"')
    await using upstream = await serveScripts(first, [repeated], first)
    await using gateway = await serveHttp2(upstream, (error) => errors.push(error))
    expect(await gateway.ask('/one')).to.deep.equal([200, 'first'])
    expect(await gateway.ask('/two')).to.deep.equal([502, '502 Bad Gateway\n'])
    expect(await gateway.ask('/three')).to.deep.equal([200, 'first'])
    expect(errors).to.have.length(1)
  })

  it('is told from a response of node:http also when an application gives all responses the members of a short answer', async () => {
    Object.assign(http.IncomingMessage.prototype, { text: 'a', statusCode: 299 })
    try {
      const { past, through } = await bothWays([['HTTP/1.1 200 OK\r\n', 'wait', answer('abc').slice(17)]])
      expect(past).to.deep.equal(through)
      expect(past?.client).to.have.property('body', 'abc')
    } finally {
      Reflect.deleteProperty(http.IncomingMessage.prototype, 'text')
      Reflect.deleteProperty(http.IncomingMessage.prototype, 'statusCode')
    }
  })

  it('is asked for once when a monitor replaces functions of node:http before it is there', async () => {
    const { request } = http
    const replace = () => {
      http.request = new Proxy(request, {
        apply: (target, self, [options, ...rest]) =>
          Reflect.apply(target, self, [Object.fromEntries(Object.entries(options)), ...rest]),
      })
    }
    const chunked = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'
    await using upstream = await serveScripts(first, [replace, chunked])
    await using proxy = await proxyTo(upstream, ways['past node:http'])
    await get(proxy.url)
    const client = await get(proxy.url)
    http.request = request
    expect(client).to.have.property('body', 'abc')
    expect(upstream.heads).to.have.length(2)
  })

  it('leaves a connection the functions that a monitor gave it', async () => {
    await using upstream = await serveScripts(first, ['HTTP/1.1 204 No Content\r\n\r\n'])
    const { createConnection } = http.Agent.prototype
    let written = 0
    http.Agent.prototype.createConnection = function (...args) {
      const socket = createConnection.apply(this, args)
      if (args[0].port !== upstream.port || !socket) return socket
      const { write } = socket
      return Object.assign(socket, {
        write: (...given: unknown[]) => {
          written++
          return Reflect.apply(write, socket, given)
        },
      })
    }
    try {
      await using proxy = await proxyTo(upstream, ways['past node:http'])
      for (let n = 0; n < 4; n++) await get(proxy.url)
    } finally {
      http.Agent.prototype.createConnection = createConnection
    }
    expect([written, upstream.sockets.length]).to.deep.equal([4, 1])
  })

  const streamed: Readonly<Record<string, readonly (readonly Step[])[]>> = {
    'on the idle connection': [[...eventStream, 'wait', 'data: b\n\n']],
    'on a new connection, because the idle one was closed': [
      ['FIN'],
      [...eventStream, 'wait', 'data: b\n\n'],
    ],
  }
  for (const [where, scripts] of Object.entries(streamed)) {
    it(`is an event stream in the asynchronous context of its own client, ${where}`, async () => {
      const storage = new AsyncLocalStorage<string>()
      const seen: unknown[] = []
      await using upstream = await serveScripts(first, ...scripts)
      const listener = createSseProxy({
        upstream: `http://127.0.0.1:${upstream.port}`,
        relay: {
          transform: (event: SseEvent) => {
            seen.push(storage.getStore())
            return event
          },
        },
      })
      await using server = await serve((req, res) => storage.run(String(req.url), () => listener(req, res)))
      const origin = `http://127.0.0.1:${server.port}`
      await get(`${origin}/a`)
      const request = http.get(`${origin}/b`, { agent: false }).on('error', () => {})
      request.on('response', (response) => response.resume())
      await until(
        () => seen.length === 2,
        () => `events: ${seen}`,
      )
      request.destroy()
      expect(seen).to.deep.equal(['/b', '/b'])
    })
  }

  it('belongs to no request of node:http', async () => {
    const requested: string[] = []
    const unchanged = ['HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n']
    await using upstream = await serveScripts(first, [answer('second')], unchanged, [answer('last')])
    await using proxy = await proxyTo(upstream, ways['past node:http'])
    const { ClientRequest } = http
    const { onSocket } = ClientRequest.prototype
    ClientRequest.prototype.onSocket = function (...args) {
      if (this.getHeader('via') !== undefined) requested.push(this.path)
      return onSocket.apply(this, args)
    }
    try {
      for (const path of ['/one', '/two', '/three', '/four']) await get(proxy.url + path)
    } finally {
      ClientRequest.prototype.onSocket = onSocket
    }
    expect(requested).to.deep.equal(['/one'])
    expect(upstream.heads).to.have.length(4)
  })

  it('is asked for through node:http while something observes its requests', async () => {
    await using upstream = await serveScripts(first)
    await using proxy = await proxyTo(upstream, ways['past node:http'])
    const seen: string[] = []
    const note = (message: unknown) => {
      if (typeof message !== 'object' || message === null || !('request' in message)) return
      if (message.request instanceof http.ClientRequest && message.request.getHeader('via'))
        seen.push('channel')
    }
    await get(proxy.url)
    const started = channel('http.client.request.start')
    started.subscribe(note)
    await get(proxy.url)
    started.unsubscribe(note)
    await get(proxy.url)
    const { request } = http
    http.request = new Proxy(request, {
      apply(target, self, args) {
        seen.push('monitor')
        return Reflect.apply(target, self, args)
      },
    })
    await get(proxy.url)
    http.request = request
    await get(proxy.url)
    // The test's own request is the first one for the monitor.
    expect(seen).to.deep.equal(['channel', 'monitor', 'monitor'])
    expect(upstream.sockets).to.have.length(1)
  })

  it('is given up with its connection when the client disconnects, and when it comes too late', async () => {
    await using upstream = await serveScripts(first, [], first, [], first)
    await using proxy = await proxyTo(upstream, { agent: undefined, responseTimeout: 300 })
    await get(proxy.url)
    const leaving = new AbortController()
    const left = get(proxy.url, { signal: leaving.signal })
    const closed = (n: number) =>
      until(
        () => upstream.sockets[n]?.closed === true,
        () => `connection ${n} closes`,
      )
    await until(
      () => upstream.heads.length === 2,
      () => 'the second request',
    )
    leaving.abort()
    expect(await left).to.equal('The operation was aborted')
    await closed(0)
    expect(proxy.errors).to.deep.equal([])
    await get(proxy.url)
    expect(await get(proxy.url)).to.have.property('status', '504 Gateway Timeout')
    await closed(1)
    await reports(proxy, 'ERR_SSE_CONNECT_TIMEOUT')
    expect(await get(proxy.url)).to.have.property('body', 'first')
  })

  it('is passed on to a client over HTTP/2', async () => {
    await using upstream = await serveScripts(first, [answer('second', 'x-a: b')])
    await using gateway = await serveHttp2(upstream)
    expect(await gateway.ask('/one')).to.deep.equal([200, 'first'])
    expect(await gateway.ask('/two')).to.deep.equal([200, 'second'])
    expect(upstream.sockets).to.have.length(1)
  })
})
