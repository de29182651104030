import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import { expect } from 'chai'
import { createSseProxy } from '../../src/index.ts'
import { certificate } from '../support/certificate.ts'
import { serveTls } from '../support/dialling.ts'
import { proxyTo, raw, rawGet, statusOf } from '../support/proxy.ts'
import { serveRaw } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Answers in two parts, by the framing of their bodies. */
const framings = {
  chunked: ['transfer-encoding: chunked', '4\r\nhalf\r\n', '4\r\nrest\r\n0\r\n\r\n'],
  'with a length': ['content-length: 8', 'half', 'rest'],
  'that ends with its connection': ['connection: close', 'half', 'rest'],
  'that is HTTP/1.0': ['x-old: 1', 'half', 'rest'],
  'with transfer-encoding identity': ['transfer-encoding: identity', 'half', 'rest'],
} as const

type Framing = keyof typeof framings

const ways = {
  'is reset': (socket: Socket) => void socket.resetAndDestroy(),
  'is closed': (socket: Socket) => void socket.end(),
  'sends the rest': (socket: Socket, framing: Framing) => void socket.end(framings[framing][2]),
}

/** The answer that a client of an HTTP version gets, after the upstream has sent half of it and then ends in one of the ways. */
async function answerThrough(framing: Framing, way: keyof typeof ways, version: string) {
  const [field, half] = framings[framing]
  const status = framing === 'that is HTTP/1.0' ? 'HTTP/1.0 200 OK' : 'HTTP/1.1 200 OK'
  let upstreamSocket: Socket | undefined
  await using upstream = await serveRaw((socket) => {
    upstreamSocket = socket
    socket.write(`${status}\r\n${field}\r\n\r\n${half}`)
  })
  await using proxy = await proxyTo(upstream)
  const client = net.connect(proxy.server.port, '127.0.0.1')
  let text = ''
  let how = 'end'
  client.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  client.on('error', () => {
    how = 'reset'
  })
  client.write(`GET / HTTP/${version}\r\nhost: us\r\nconnection: close\r\n\r\n`)
  await until(
    () => text.includes('half'),
    () => `the half in ${JSON.stringify(text)}`,
  )
  if (upstreamSocket) ways[way](upstreamSocket, framing)
  await until(
    () => client.closed,
    () => 'the end',
  )
  const errors = proxy.errors.map((error) => ('code' in error ? error.code : error.message))
  return { text, isWhole: isWhole(text, how), errors }
}

/** The content type of each TLS record (RFC 5246, 6.2.1). */
function recordKinds(bytes: Buffer): number[] {
  const kinds: number[] = []
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) kinds.push(bytes[at] ?? 0)
  return kinds
}

function portOf(server: net.Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

/** Whether an answer is complete for its client (RFC 9112, 6.3 and 8). */
function isWhole(text: string, how: string): boolean {
  const [head = '', body = ''] = text.split(/\r\n\r\n(.*)/s)
  if (/^transfer-encoding: chunked$/im.test(head)) return body.endsWith('\r\n0\r\n\r\n')
  const length = /^content-length: (\d+)$/im.exec(head)?.[1]
  return length === undefined ? how === 'end' : body.length === Number(length)
}

describe('an answer through the proxy', () => {
  for (const version of ['1.0', '1.1']) {
    for (const [framing, way] of [
      ['chunked', 'is reset'],
      ['chunked', 'is closed'],
      ['with a length', 'is reset'],
      ['with a length', 'is closed'],
      ['that ends with its connection', 'is reset'],
      ['that is HTTP/1.0', 'is reset'],
      ['with transfer-encoding identity', 'is reset'],
    ] as const) {
      it(`${framing} whose upstream ${way} is incomplete for a client of HTTP/${version}`, async () => {
        const { text, isWhole, errors } = await answerThrough(framing, way, version)
        expect(isWhole, text).to.equal(false)
        expect(errors).to.deep.equal(['ERR_SSE_DROPPED'])
      })
    }

    for (const [framing, way] of [
      ['chunked', 'sends the rest'],
      ['with a length', 'sends the rest'],
      ['that ends with its connection', 'sends the rest'],
      ['that is HTTP/1.0', 'sends the rest'],
      ['with transfer-encoding identity', 'sends the rest'],
    ] as const) {
      it(`${framing} whose upstream ${way} is complete for a client of HTTP/${version}`, async () => {
        const { text, isWhole, errors } = await answerThrough(framing, way, version)
        expect(isWhole, text).to.equal(true)
        expect(text).to.match(/half(\r\n4\r\n)?rest/)
        expect(errors).to.deep.equal([])
      })
    }
  }

  for (const [way, isWhole] of [
    ['is reset', false],
    ['sends the rest', true],
  ] as const) {
    it(`over TLS to a client of HTTP/1.0 ends ${isWhole ? 'with' : 'without'} close_notify when its upstream ${way}`, async () => {
      let upstreamSocket: Socket | undefined
      await using upstream = await serveRaw((socket) => {
        upstreamSocket = socket
        socket.write('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf')
      })
      await using server = await serveTls(createSseProxy({ upstream: `http://127.0.0.1:${upstream.port}` }))
      // The TLS records that the server sends.
      const sent: Buffer[] = []
      const ends: Socket[] = []
      const wire = net.createServer((near) => {
        const far = net.connect(Number(new URL(server.url).port), '127.0.0.1')
        far.on('data', (chunk: Buffer) => sent.push(chunk))
        near.pipe(far).pipe(near)
        ends.push(near, far)
      })
      const port = await new Promise<number>((resolve) => {
        wire.listen(0, '127.0.0.1', () => resolve(portOf(wire)))
      })
      // TLS 1.3 encrypts the content type of a record.
      const client = tls.connect({
        port,
        servername: 'localhost',
        ca: certificate.cert,
        maxVersion: 'TLSv1.2',
      })
      client.write('GET / HTTP/1.0\r\nhost: us\r\n\r\n')
      let text = ''
      client.on('data', (chunk) => {
        text += chunk
        if (text.endsWith('half') && upstreamSocket) ways[way](upstreamSocket, 'that is HTTP/1.0')
      })
      await once(client, 'close')
      expect(text).to.include('half')
      const alert = 21
      expect(recordKinds(Buffer.concat(sent)).includes(alert)).to.equal(isWhole)
      for (const end of ends) end.destroy()
      wire.close()
    })
  }

  for (const coding of ['gzip', 'gzip, chunked', 'chunked, gzip', 'identity, gzip']) {
    it(`with transfer-encoding ${coding}, which the proxy does not decode, is a 502`, async () => {
      await using upstream = await serveRaw((socket) =>
        socket.end(`HTTP/1.1 200 OK\r\ntransfer-encoding: ${coding}\r\n\r\n0\r\n\r\n`),
      )
      await using proxy = await proxyTo(upstream)
      expect(statusOf(await raw(proxy.server.port, rawGet('/')))).to.equal(502)
      expect(proxy.errors[0]).to.include({
        message: 'the upstream used an unknown transfer coding',
        sent: true,
      })
    })
  }
})
