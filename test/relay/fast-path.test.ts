import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import { expect } from 'chai'
import { createSseHub, httpUpstream, relaySse } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { library, runModule } from '../support/child.ts'
import { get } from '../support/client.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { ends, portOf, serve } from '../support/server.ts'

type Handle = (req: IncomingMessage, res: ServerResponse, fastPath: boolean) => unknown

/** Whether the package frames the body of this response: then a buffer that is written to the socket is a whole chunk. */
function observe({ socket }: ServerResponse): () => boolean {
  if (!socket) throw new Error('the response has no socket')
  let isOwn = false
  const look = (chunk: unknown) => {
    isOwn ||= Buffer.isBuffer(chunk) && /^[\da-f]+\r\n.+\r\n$/s.test(chunk.toString('latin1'))
  }
  const { _write: write, _writev: writev } = socket
  socket._write = (chunk, encoding, callback) => {
    look(chunk)
    write.call(socket, chunk, encoding, callback)
  }
  socket._writev = (chunks, callback) => {
    for (const { chunk } of chunks) look(chunk)
    writev?.call(socket, chunks, callback)
  }
  return () => isOwn
}

const events = Array.from({ length: 20 }, (_, n) => wire(n, 'x'.repeat(n * 997)))
const body = [...events, wire(20, 'end')].join('')
const isTerminal = lastIs('end')
const upstreamOf = () => serve(ends(...events, wire(20, 'end')))

async function raw(port: number, request: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1').setEncoding('latin1')
  socket.write(request)
  const text = await textOf(socket)
  return text.slice(text.indexOf('\r\n\r\n') + 4)
}

describe('the body of a response', () => {
  const ways: Readonly<Record<string, (url: string) => Handle>> = {
    relaySse: (url) => (req, res, fastPath) =>
      relaySse(req, res, httpUpstream(url), { reconnect: fast, isTerminal, fastPath }),
    'a hub': (url) => {
      const hub = createSseHub()
      return async (req, res, fastPath) => {
        await hub.relay(req, res, 'a', httpUpstream(url), { reconnect: fast, isTerminal, fastPath })
        await hub.close()
      }
    },
  }
  for (const [name, way] of Object.entries(ways)) {
    for (const fastPath of [true, false]) {
      it(`of ${name} is framed by ${fastPath ? 'this package' : 'node:http with fastPath: false'}`, async () => {
        await using upstream = await upstreamOf()
        const handle = way(upstream.url)
        let isOwn = () => false
        await using gateway = await serve((req, res) => {
          isOwn = observe(res)
          handle(req, res, fastPath)
        })
        const client = await get(gateway.url)
        expect(await client.ended).to.equal('end')
        expect(client.text.replaceAll(/id: .*\n/g, '')).to.equal(body.replaceAll(/id: .*\n/g, ''))
        expect(isOwn()).to.equal(fastPath)
      })
    }
  }

  /** Relays with a response that was prepared, and returns what a raw client gets. */
  async function rawBody(prepare: (res: ServerResponse) => void, version = '1.1'): Promise<string> {
    await using upstream = await upstreamOf()
    await using gateway = await serve((req, res) => {
      prepare(res)
      relaySse(req, res, httpUpstream(upstream.url), { reconnect: fast, isTerminal })
    })
    return await raw(gateway.port, `GET / HTTP/${version}\r\nhost: a\r\nconnection: close\r\n\r\n`)
  }
  const unframed = (text: string) => text.replaceAll(/[\da-f]+\r\n((?:[^\r]|\r(?!\n))*)\r\n/g, '$1')

  it('is not framed for a client of HTTP/1.0', async () => {
    expect(await rawBody(() => {}, '1.0')).to.equal(body)
  })

  it('reaches a write that was replaced without frames', async () => {
    let seen = ''
    const text = await rawBody((res) => {
      const write = res.write.bind(res)
      const spy = (chunk: Uint8Array | string) => {
        seen += Buffer.from(chunk).toString()
        return write(chunk)
      }
      Object.assign(res, { write: spy })
    })
    expect(seen).to.equal(body)
    expect(unframed(text)).to.equal(body)
  })

  it('reaches a socket whose write was replaced through that write', async () => {
    let seen = ''
    const text = await rawBody((res) => {
      const { socket } = res
      const write = socket?.write.bind(socket)
      const spy = (chunk: Uint8Array | string, ...rest: []) => {
        seen += Buffer.from(chunk).toString()
        return write?.(chunk, ...rest)
      }
      Object.assign(socket ?? {}, { write: spy })
    })
    expect(seen.slice(seen.indexOf('\r\n\r\n') + 4)).to.equal(text)
    expect(unframed(text)).to.equal(body)
  })

  it('is in order when a handler has corked the response for some of the events', async () => {
    // So that the response is not full while it is corked.
    const small = Array.from({ length: 20 }, (_, n) => wire(n))
    await using gateway = await serve((req, res) => {
      async function* upstream() {
        for (const [n, event] of small.entries()) {
          if (n % 7 === 2) res.cork()
          if (n % 7 === 5) res.uncork()
          yield event
        }
        res.uncork()
        yield wire(20, 'end')
      }
      relaySse(req, res, upstream, { reconnect: fast, isTerminal })
    })
    const text = await raw(gateway.port, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
    expect(unframed(text)).to.equal([...small, wire(20, 'end')].join(''))
  })

  it('is whole over TLS', async () => {
    await using upstream = await upstreamOf()
    let isOwn = () => false
    const server = https.createServer(certificate, (req, res) => {
      isOwn = observe(res)
      relaySse(req, res, httpUpstream(upstream.url), { reconnect: fast, isTerminal })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const request = https.get({ port: portOf(server), host: '127.0.0.1', ca: certificate.cert, agent: false })
    const [response] = await once(request, 'response')
    expect(await textOf(response)).to.equal(body)
    expect(isOwn()).to.equal(true)
    server.close()
    await once(server, 'close')
  })

  it('is framed by node:http where the own chunks come out differently', async () => {
    await using upstream = await upstreamOf()
    // As on a version of Node whose end of a body depends on what its own `write` has written.
    const program = `
import http, { OutgoingMessage } from 'node:http'
const { write, end } = OutgoingMessage.prototype
const written = new WeakSet()
OutgoingMessage.prototype.write = function (...args) {
  written.add(this)
  return write.apply(this, args)
}
OutgoingMessage.prototype.end = function (...args) {
  if (!written.has(this)) this.chunkedEncoding = false
  return end.apply(this, args)
}
const { httpUpstream, relaySse } = await import(${JSON.stringify(library)})
const server = http.createServer((req, res) => {
  relaySse(req, res, httpUpstream(process.argv[1]), { isTerminal: ({ data }) => data === 'end' })
})
server.listen(0, '127.0.0.1', async () => {
  const response = await fetch('http://127.0.0.1:' + server.address().port)
  // The end of the process would cut the text off.
  process.stdout.write(await response.text(), () => process.exit())
})
`
    const { out, err } = await runModule(program, [upstream.url], { DEBUG: 'resilient-sse:fast-path' })
    expect(out).to.equal(body)
    expect(err).to.include('node:http frames all responses')
  })
})
