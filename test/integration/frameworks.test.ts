import type { RequestListener, ServerResponse } from 'node:http'
import { expect } from 'chai'
import compression from 'compression'
import express from 'express'
import { httpUpstream, relaySse } from '../../src/index.ts'
import { type Program, startModule } from '../support/child.ts'
import { type Client, get } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { portOf, startExample } from '../support/example.ts'
import { answers, serve, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/** An upstream that dies like any other process: it counts on from `Last-Event-ID`, one event every 5 ms. */
const counter = `
  import http from 'node:http'
  http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    let id = Number(request.headers['last-event-id'] ?? 0)
    const timer = setInterval(() => response.write(\`id: \${++id}\\ndata: event \${id}\\n\\n\`), 5)
    response.on('close', () => clearInterval(timer))
  }).listen(Number(process.argv[1]), '127.0.0.1', function () { console.log(this.address()) })
`

async function startCounter(port: number): Promise<Program & { readonly port: number }> {
  const program = await startModule(counter, [String(port)])
  return Object.assign(program, { port: await portOf(program) })
}

const numbersIn = (text: string) =>
  Array.from(text.matchAll(/^data: event (\d+)\n\n/gm), ([, n]) => Number(n))

const reaches = (client: Client, id: number) =>
  until(
    () => (numbersIn(client.text).at(-1) ?? 0) >= id,
    () => `event ${id}, got ${client.text.slice(-100)}, ${client.over}`,
  )

for (const file of ['raw-http.ts', 'express.ts', 'koa.ts', 'fastify.ts', 'hono.ts']) {
  describe(`examples/${file}`, () => {
    it('survives kill -9 of its upstream: one response, no gap, no repeat', async () => {
      await using upstream = await startCounter(0)
      await using gateway = await startExample(file, `http://127.0.0.1:${upstream.port}/events`)
      using client = await get(`${gateway.url}/events`)
      await reaches(client, 10)
      upstream.child.kill('SIGKILL')
      await upstream.ended
      await using _ = await startCounter(upstream.port)
      await reaches(client, (numbersIn(client.text).at(-1) ?? 0) + 10)
      expect(client.over).to.equal(undefined)
      const numbers = numbersIn(client.text)
      expect(numbers).to.deep.equal(Array.from(numbers, (_, n) => n + 1))
    })

    it("passes on the upstream's 401 as the first answer", async () => {
      await using upstream = await serve(answers(401, { 'www-authenticate': 'Bearer' }))
      await using gateway = await startExample(file, upstream.url)
      using client = await get(`${gateway.url}/events`)
      await until(
        () => client.over !== undefined,
        () => 'the end of the response',
      )
      expect(client.status).to.equal(401)
      expect(client.headers['www-authenticate']).to.equal('Bearer')
      expect(client.over).to.equal('end')
    })

    it("starts after the client's last event ID, and closes its upstream when the client disconnects", async () => {
      await using upstream = await serve(stays(wire(8)))
      await using gateway = await startExample(file, upstream.url)
      using client = await get(`${gateway.url}/events`, { 'last-event-id': '7' })
      await reaches(client, 8)
      expect(client.headers).to.include({
        'content-type': 'text/event-stream',
        'cache-control': 'no-cache, no-transform',
      })
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal(['7'])
      client.leave()
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })
  })
}

describe('relaySse behind compression', () => {
  /** Writes each event upstream only when the one before has reached the client. */
  async function oneByOne(middleware: RequestListener): Promise<Client> {
    let response: ServerResponse | undefined
    await using upstream = await serve((_, opened) => {
      response = stream(opened, wire(1))
    })
    const app = express()
      .use(compression())
      .use((req, res, next) => {
        middleware(req, res)
        next()
      })
      .get('/events', async (req, res) => {
        await relaySse(req, res, httpUpstream(upstream.url))
      })
    await using gateway = await serve(app)
    using client = await get(gateway.url, { 'accept-encoding': 'gzip' })
    for (let id = 1; id <= 20; id++) {
      if (id > 1) response?.write(wire(id))
      await reaches(client, id)
    }
    expect(numbersIn(client.text)).to.have.length(20)
    return client
  }

  it('passes each event on when it is written', async () => {
    const client = await oneByOne(() => {})
    expect(client.headers).to.not.have.property('content-encoding')
  })

  it('passes each event on even if no-transform is removed and the events are compressed', async () => {
    const client = await oneByOne((_, res) => {
      const setHeader = res.setHeader.bind(res)
      res.setHeader = (name, value) => setHeader(name, name === 'cache-control' ? 'no-cache' : value)
    })
    expect(client.headers['content-encoding']).to.equal('gzip')
  })
})
