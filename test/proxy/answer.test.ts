import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { expect } from 'chai'
import { serveRaw } from '../support/dialling.ts'
import { ask, type Options, proxyTo, reports } from '../support/proxy.ts'
import { answers, serve } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Counts the writes of a socket to the system. */
function countWrites(socket: Socket): () => number {
  let writes = 0
  const { _write: write, _writev: writev } = socket
  socket._write = (...args) => {
    writes++
    write.apply(socket, args)
  }
  socket._writev = (...args) => {
    writes++
    writev?.apply(socket, args)
  }
  return () => writes
}

/** An upstream on a port that answers each connection with bytes. */
async function serveBytes(bytes: string) {
  const server = await serveRaw(bytes)
  return { ...server, port: Number(new URL(server.url).port) }
}

const agents: readonly (readonly [string, Options])[] = [
  ['of the proxy', { agent: undefined }],
  ['of the caller', {}],
]

for (const [whose, options] of agents) {
  describe(`an answer that is passed on, over an agent ${whose}`, () => {
    for (const [what, headers, body] of [
      ['a short answer', { 'content-length': '5' }, 'hello'],
      ['a short chunked answer', { 'transfer-encoding': 'chunked' }, 'hello'],
      ['an answer without a body', { 'content-length': '0' }, ''],
    ] as const) {
      it(`writes the head and the body of ${what} at once`, async () => {
        await using upstream = await serve(answers(200, headers, body))
        await using proxy = await proxyTo(upstream, options)
        let writes = () => 0
        proxy.server.server.once('connection', (socket: Socket) => {
          writes = countWrites(socket)
        })
        const client = await ask(proxy.url)
        expect(await client.over).to.equal('end')
        expect(client.text).to.equal(body)
        // node:http knows the length of a body that is there.
        expect(client.response.headers['content-length']).to.equal(String(body.length))
        expect(writes()).to.equal(1)
      })
    }

    it('has the same head whether anything looks at its fields or not', async () => {
      const head =
        'HTTP/1.1 404 Not There\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Own: yes\r\ndate: Thu, 26 Nov 2026 10:00:00 GMT\r\n'
      await using upstream = await serveBytes(`${head}content-length: 2\r\n\r\nno`)
      const heads: unknown[] = []
      const seen: unknown[] = []
      for (const observe of [
        () => {},
        // As an access log does.
        (res: ServerResponse) => res.on('finish', () => seen.push(res.getHeader('x-own'))),
        // As a compressing middleware does.
        (res: ServerResponse) => {
          const { writeHead } = res
          res.writeHead = (...args: unknown[]) => {
            seen.push(args.length, res.getHeader('x-own'))
            return Reflect.apply(writeHead, res, args)
          }
        },
        (res: ServerResponse) => res.setHeader('x-own', 'before').setHeader('x-other', 'kept'),
      ]) {
        await using proxy = await proxyTo(upstream, options)
        proxy.server.server.prependListener('request', (_, res) => observe(res))
        const client = await ask(proxy.url)
        expect(await client.over).to.equal('end')
        const { statusCode, statusMessage, headers, headersDistinct } = client.response
        expect(client.text).to.equal('no')
        heads.push([
          statusCode,
          statusMessage,
          headersDistinct['set-cookie'],
          headers['x-own'],
          headers.date,
          headers['x-other'],
        ])
      }
      const date = 'Thu, 26 Nov 2026 10:00:00 GMT'
      const expected = [404, 'Not There', ['a=1', 'b=2'], 'yes', date]
      const ofEach = [undefined, undefined, undefined, 'kept'].map((other) => [...expected, other])
      expect(heads).to.deep.equal(ofEach)
      expect(seen).to.deep.equal(['yes', 1, 'yes'])
    })

    it('sends a head that comes alone before the body', async () => {
      let finish = () => {}
      await using upstream = await serve((_, res) => {
        res.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()
        finish = () => res.end('{}')
      })
      await using proxy = await proxyTo(upstream, options)
      const client = await ask(proxy.url)
      expect(client.response.headers['content-type']).to.equal('application/json')
      expect(client.text).to.equal('')
      finish()
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal('{}')
    })

    it('sends the first part of a body before the second', async () => {
      let finish = () => {}
      await using upstream = await serve((_, res) => {
        res.writeHead(200).write('one')
        finish = () => res.end('two')
      })
      await using proxy = await proxyTo(upstream, options)
      const client = await ask(proxy.url)
      await until(
        () => client.text === 'one',
        () => client.text,
      )
      finish()
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal('onetwo')
    })

    for (const [what, head] of [
      ['a chunk that is malformed', 'transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nZZ\r\n'],
      ['a first chunk that is malformed', 'transfer-encoding: chunked\r\n\r\nZZ\r\n'],
    ]) {
      it(`passes on the head, and then a cut, when ${what} comes with the head`, async () => {
        await using upstream = await serveBytes(`HTTP/1.1 203 Told\r\nx-a: 1\r\n${head}`)
        await using proxy = await proxyTo(upstream, options)
        const client = await ask(proxy.url)
        expect([client.response.statusCode, client.response.headers['x-a']]).to.deep.equal([203, '1'])
        expect(await client.over).to.equal('aborted')
        await reports(proxy, 'ERR_SSE_DROPPED')
        expect(proxy.errors).to.have.length(1)
      })
    }

    it('passes on an answer whose connection sends more than the answer', async () => {
      await using upstream = await serveBytes('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokgarbage')
      await using proxy = await proxyTo(upstream, options)
      const client = await ask(proxy.url)
      expect(await client.over).to.equal('end')
      expect(client.text).to.equal('ok')
      expect(proxy.errors).to.deep.equal([])
    })

    it('gives the connection to the next request after a short answer', async () => {
      const sockets = new Set<Socket>()
      await using upstream = await serve((req, res) => {
        sockets.add(req.socket)
        res.end(`answer to ${req.url}`)
      })
      await using proxy = await proxyTo(upstream, options)
      for (const path of ['/1', '/2', '/3']) {
        const client = await ask(proxy.url + path)
        await client.over
        expect(client.text).to.equal(`answer to ${path}`)
      }
      expect(sockets.size).to.equal(1)
    })

    it('closes the connection of an answer whose client leaves before its end', async () => {
      let isClosed = false
      await using upstream = await serve((_, res) => {
        res.on('close', () => {
          isClosed = true
        })
        res.write('half')
      })
      await using proxy = await proxyTo(upstream, options)
      const request = http.get(proxy.url, { agent: false })
      const [response]: IncomingMessage[] = await once(request, 'response')
      response?.on('error', () => {})
      request.on('error', () => {}).destroy()
      await until(
        () => isClosed,
        () => 'the connection to the upstream is open',
      )
      expect(proxy.errors).to.deep.equal([])
    })

    it('passes on a large answer to a slow client, whole', async () => {
      const body = Buffer.alloc(30_000_000, 'abcdefg')
      await using upstream = await serve((_, res) => {
        res.writeHead(200, { 'content-length': body.length }).end(body)
      })
      await using proxy = await proxyTo(upstream, options)
      const request = http.get(proxy.url, { agent: false })
      const [response]: IncomingMessage[] = await once(request, 'response')
      if (!response) throw new Error('no response')
      response.pause()
      await until(
        () => [...proxy.server.sockets].some((socket) => socket.writableNeedDrain),
        () => 'the client has room',
      )
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk)
      expect(Buffer.concat(chunks).equals(body)).to.equal(true)
    })
  })
}
