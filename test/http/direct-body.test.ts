import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { setImmediate as nextTurn } from 'node:timers/promises'
import zlib from 'node:zlib'
import { expect } from 'chai'
import { makeAgent } from '../../src/http/direct-agent.ts'
import { directBodyOf } from '../../src/http/direct-socket.ts'
import { isReaderProven } from '../../src/http/reader-check.ts'
import { httpUpstream, relaySse } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { library, runModule } from '../support/child.ts'
import { get } from '../support/client.ts'
import { countsOf, dial, idleCountOf } from '../support/dialling.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { ends, isStuck, portOf, serve, serveRaw } from '../support/server.ts'
import { until } from '../support/until.ts'

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n'
const chunked = `${head}transfer-encoding: chunked\r\n\r\n`

/** The body of a response, read directly. */
class Reading {
  text = ''
  error: Error | undefined
  hasEnded = false
  readonly response: IncomingMessage
  readonly body: ReturnType<typeof directBodyOf>

  constructor(response: IncomingMessage) {
    this.response = response
    this.body = directBodyOf(response)
    this.body?.read(this)
    response
      .on('error', (error) => {
        this.error = error
      })
      .on('end', () => {
        this.hasEnded = true
      })
      .resume()
  }

  onBytes(bytes: Buffer): void {
    this.text += bytes.toString('latin1')
    bytes.fill('?')
  }

  over(): Promise<void> {
    return until(
      () => this.hasEnded || this.error !== undefined,
      () => `the end, after ${this.text}`,
    )
  }

  has(text: string): Promise<void> {
    return until(
      () => this.text === text,
      () => `${this.text} is ${text}`,
    )
  }
}

describe('a body that bypasses node:http', () => {
  const agents: http.Agent[] = []
  const agentOf = (protocol = 'http:', fastPath = true) => {
    const agent = makeAgent(protocol, fastPath)
    agents.push(agent)
    return agent
  }
  afterEach(() => {
    for (const agent of agents.splice(0)) agent.destroy()
  })
  /** Sends raw bytes for each request, and asks for the first of them. */
  const answering = (...parts: readonly string[]) =>
    serveRaw((socket) => {
      for (const part of parts) socket.write(part, 'latin1')
    })

  it('is proven on this version of Node', async () => {
    agentOf()
    await nextTurn()
    expect(isReaderProven()).to.equal(true)
  })

  describe('is that of a response', () => {
    const isHeld = async (answer: string, options: Parameters<typeof dial>[1] = {}) => {
      await using upstream = await answering(answer)
      const response = await dial(upstream.url, { agent: agentOf(), ...options })
      const isHeld = directBodyOf(response) !== undefined
      response.on('error', () => {}).destroy()
      return isHeld
    }
    it('with chunks', async () => {
      expect(await isHeld(chunked)).to.equal(true)
      expect(await isHeld(chunked, { method: 'POST' })).to.equal(true)
    })
    it('that ends with its connection', async () => {
      expect(await isHeld(`${head}\r\n`)).to.equal(true)
    })
    it('after interim responses', async () => {
      const interim = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
      expect(await isHeld(`${interim}${chunked}`)).to.equal(true)
    })
    for (const [name, fields] of [
      ['with a content length', 'content-length: 5\r\n'],
      ['with a content coding', 'transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n'],
      ['with another transfer coding', 'transfer-encoding: gzip, chunked\r\n'],
      ['whose transfer coding has two lines', 'transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n'],
      ['of another type', 'content-type: application/json\r\n'],
    ] as const) {
      it(`but not of one ${name}`, async () => {
        expect(await isHeld(`${head}${fields}\r\n`)).to.equal(false)
      })
    }
    it('but not of one with another status or version', async () => {
      expect(await isHeld(chunked.replace('200', '404'))).to.equal(false)
      expect(await isHeld(chunked.replace('1.1', '1.0'))).to.equal(false)
    })
    it('but not of one to a HEAD', async () => {
      expect(await isHeld(chunked, { method: 'HEAD' })).to.equal(false)
    })
    it('but not of one whose name of a field ends with a space, for a lenient parser', async () => {
      const spaced = `${head}transfer-encoding : chunked\r\n\r\n`
      expect(await isHeld(spaced, { insecureHTTPParser: true })).to.equal(false)
    })
    it('but not of one whose head a lenient parser ends earlier', async () => {
      const bare = chunked.replace('\r\n\r\n', '\n\r\n')
      const answer = `${bare}5\r\n1\r\n\r\n\r\n0\r\n\r\n`
      expect(await isHeld(answer, { insecureHTTPParser: true })).to.equal(false)
    })
    it('but not of one from another agent, or with fastPath: false', async () => {
      expect(await isHeld(chunked, { agent: new http.Agent() })).to.equal(false)
      expect(await isHeld(chunked, { agent: agentOf('http:', false) })).to.equal(false)
    })
  })

  it('is whole when its bytes arrive one by one, and leaves a connection for the next request', async () => {
    const bytes = `${chunked}3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n`
    await using upstream = await serveRaw(async (socket) => {
      for (const byte of bytes) {
        socket.write(byte, 'latin1')
        await nextTurn()
      }
    })
    const agent = agentOf()
    for (let n = 0; n < 3; n++) {
      const reading = new Reading(await dial(upstream.url, { agent }))
      await reading.over()
      expect(reading).to.include({ text: 'onetwo', error: undefined, hasEnded: true })
      await until(
        () => idleCountOf(agent) === 1,
        () => `the connection is free: ${countsOf(agent)}`,
      )
    }
    expect(upstream.sockets.size).to.equal(1)
  })

  it('goes on through node:http from an extension on, with trailers', async () => {
    await using upstream = await answering(
      `${chunked}3\r\none\r\n3;a="b\r\n`.replace('b\r\n', 'b"\r\ntwo\r\n'),
      '5\r\nthree\r\n0\r\na: 1\r\n\r\n',
    )
    const reading = new Reading(await dial(upstream.url, { agent: agentOf() }))
    await reading.over()
    expect(reading).to.include({ text: 'onetwothree', error: undefined })
    expect(reading.response.trailers).to.deep.equal({ a: '1' })
  })

  for (const [name, rest, text, code] of [
    ['a size that is none', 'x\r\n', 'one', 'HPE_INVALID_CHUNK_SIZE'],
    ['data without a line end', '3\r\ntwox', 'onetwo', /^HPE_/],
    ['a size with a sign', '+3\r\ntwo\r\n', 'one', 'HPE_INVALID_CHUNK_SIZE'],
  ] as const) {
    it(`breaks at ${name}`, async () => {
      await using upstream = await serveRaw((socket) => socket.write(`${chunked}3\r\none\r\n`))
      const reading = new Reading(await dial(upstream.url, { agent: agentOf() }))
      await reading.has('one')
      for (const socket of upstream.sockets) socket.write(rest)
      await reading.over()
      expect(reading.text).to.equal(text)
      const { error } = reading
      expect(error && 'code' in error && error.code).to.match(new RegExp(code))
      // What is kept for the error must not be the buffer that other connections read into.
      if (error && 'rawPacket' in error && Buffer.isBuffer(error.rawPacket)) {
        const packet = error.rawPacket.toString('latin1')
        await using other = await answering(`${chunked}5\r\nother\r\n`)
        const next = new Reading(await dial(other.url, { agent: agentOf() }))
        await next.has('other')
        expect(error.rawPacket.toString('latin1')).to.equal(packet)
      }
    })
  }

  it('is cut when its connection ends within a chunk, or before the last chunk', async () => {
    for (const rest of ['5\r\ntw', '5\r', '']) {
      await using upstream = await serveRaw((socket) => socket.end(`${chunked}3\r\none\r\n${rest}`))
      const reading = new Reading(await dial(upstream.url, { agent: agentOf() }))
      await reading.over()
      expect(reading.hasEnded).to.equal(false)
      expect(reading.text).to.equal(rest.endsWith('tw') ? 'onetw' : 'one')
    }
  })

  it('that ends with its connection is complete after a FIN, and cut by a reset', async () => {
    for (const how of ['end', 'resetAndDestroy'] as const) {
      await using upstream = await serveRaw((socket) => socket.write(`${head}\r\none`))
      const reading = new Reading(await dial(upstream.url, { agent: agentOf() }))
      await reading.has('one')
      for (const socket of upstream.sockets) socket[how]()
      await reading.over()
      expect(reading.hasEnded).to.equal(how === 'end')
    }
  })

  it('is read in the usual way by whoever does so', async () => {
    const bytes = `${chunked}3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n`
    await using upstream = await answering(bytes)
    const agent = agentOf()
    const ways: readonly ((response: IncomingMessage) => Promise<string>)[] = [
      async (response) => (await response.setEncoding('latin1').toArray()).join(''),
      async (response) => {
        let text = ''
        for await (const chunk of response) text += chunk
        return text
      },
      async (response) => {
        await once(response, 'readable')
        let text = ''
        response.on('data', (chunk) => {
          text += chunk
        })
        await once(response, 'end')
        return text
      },
    ]
    for (const way of ways) {
      const response = await dial(upstream.url, { agent })
      expect(directBodyOf(response)).to.not.equal(undefined)
      const text = way(response)
      await nextTurn()
      expect(directBodyOf(response)).to.equal(undefined)
      expect(await text).to.equal('onetwo')
    }
    expect(upstream.sockets.size).to.equal(1)
  })

  it('waits while its reader pauses, before its first byte too', async () => {
    const size = 20_000_000
    await using upstream = await serveRaw((socket) => {
      socket.write(chunked)
      for (let sent = 0; sent < size; sent += 50_000) socket.write(`c350\r\n${'x'.repeat(50_000)}\r\n`)
      socket.write('0\r\n\r\n')
    })
    const response = await dial(upstream.url, { agent: agentOf() })
    const [socket] = upstream.sockets
    if (socket === undefined) throw new Error('no connection')
    expect(await isStuck(socket)).to.equal(true)
    let got = 0
    const body = directBodyOf(response)
    body?.read({
      onBytes(bytes) {
        got += bytes.length
        if (got < 1_000_000) return
        body.pause()
        response.pause()
      },
    })
    response.on('end', () => {
      got++
    })
    response.resume()
    await until(
      () => got >= 1_000_000,
      () => `${got} bytes`,
    )
    const paused = got
    expect(await isStuck(socket)).to.equal(true)
    expect(got).to.equal(paused)
    await until(
      () => {
        response.resume()
        body?.resume()
        return got === size + 1
      },
      () => `${got} bytes`,
    )
  })

  it('closes its connection when the request is aborted, held or read', async () => {
    for (const isRead of [false, true]) {
      await using upstream = await answering(chunked)
      const controller = new AbortController()
      const response = await dial(upstream.url, { agent: agentOf(), signal: controller.signal })
      response.on('error', () => {})
      if (isRead) new Reading(response)
      controller.abort()
      await until(
        () => upstream.sockets.size === 0,
        () => 'the connection closes',
      )
    }
  })

  it('closes an idle connection on which a response comes without a request', async () => {
    await using upstream = await answering(`${chunked}0\r\n\r\n`)
    const agent = agentOf()
    const reading = new Reading(await dial(upstream.url, { agent }))
    await reading.over()
    await until(
      () => idleCountOf(agent) === 1,
      () => 'the connection is free',
    )
    const [socket] = upstream.sockets
    socket?.write('\r\n')
    await nextTurn()
    expect(idleCountOf(agent)).to.equal(1)
    socket?.write('HTTP/1.1 200 OK\r\n\r\n')
    await until(
      () => countsOf(agent).join() === '0,0,0',
      () => 'the connection is closed',
    )
  })

  it('is whole over TLS, from many connections at once', async () => {
    const text = (n: number) => `${n}:${'x'.repeat(n * 9973)}|`
    const server = https.createServer(certificate, async (_, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      for (let n = 0; n < 20; n++) {
        res.write(text(n))
        await nextTurn()
      }
      res.end()
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const agent = agentOf('https:')
    const url = `https://127.0.0.1:${portOf(server)}/`
    const readings = await Promise.all(
      Array.from({ length: 8 }, async () => new Reading(await dial(url, { agent, ca: certificate.cert }))),
    )
    const expected = Array.from({ length: 20 }, (_, n) => text(n)).join('')
    for (const reading of readings) {
      expect(reading.body).to.not.equal(undefined)
      await reading.over()
      expect(reading.text === expected).to.equal(true)
    }
    agent.destroy()
    server.close()
    await once(server, 'close')
  })

  it('takes an answer that is no event stream through node:http, whole', async () => {
    const json = JSON.stringify({ text: 'x'.repeat(300_000) })
    await using server = await serve((_, res) => res.end(json))
    const response = await dial(server.url, { agent: agentOf() })
    expect((await response.setEncoding('utf8').toArray()).join('') === json).to.equal(true)
  })

  for (const fastPath of [true, false]) {
    it(`is ${fastPath ? '' : 'not '}that of a relay with fastPath: ${fastPath}`, async () => {
      await using upstream = await serve(ends(wire(1), wire(2, 'end')))
      const held: boolean[] = []
      const factory = httpUpstream(upstream.url)
      await using gateway = await serve((req, res) => {
        const observed: typeof factory = async (context) => {
          const response = await factory(context)
          held.push(Object.hasOwn(response, '_read'))
          return response
        }
        relaySse(req, res, observed, { reconnect: fast, isTerminal: lastIs('end'), fastPath })
      })
      const client = await get(gateway.url)
      expect(await client.ended).to.equal('end')
      expect(client.text).to.equal(wire(1) + wire(2, 'end'))
      expect(held).to.deep.equal([fastPath])
    })
  }

  it('is decoded by those who read it, without bypassing node:http', async () => {
    await using upstream = await serve((_, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
      res.end(zlib.gzipSync(wire(1, 'end')))
    })
    await using gateway = await serve((req, res) => {
      relaySse(req, res, httpUpstream(upstream.url), { reconnect: fast, isTerminal: lastIs('end') })
    })
    const client = await get(gateway.url)
    await client.ended
    expect(client.text).to.equal(wire(1, 'end'))
  })

  it('is left to node:http where a response is emitted later', async () => {
    await using upstream = await serve(ends(wire(1), wire(2, 'end')))
    const program = `
import http, { ClientRequest } from 'node:http'
const { emit } = ClientRequest.prototype
ClientRequest.prototype.emit = function (name, ...args) {
  if (name !== 'response') return emit.call(this, name, ...args)
  process.nextTick(() => emit.call(this, name, ...args))
  return true
}
const { createResilientSseSource, httpUpstream } = await import(${JSON.stringify(library)})
let text = ''
const isTerminal = ({ data }) => data === 'end'
for await (const bytes of createResilientSseSource(httpUpstream(process.argv[1]), { isTerminal })) text += bytes
console.log(text)
process.exit()
`
    const { out, err } = await runModule(program, [upstream.url], { DEBUG: 'resilient-sse:fast-path' })
    expect(out).to.equal(`${wire(1)}${wire(2, 'end')}\n`)
    expect(err).to.include('node:http reads all bodies')
  })
})
