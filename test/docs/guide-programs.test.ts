import { expect } from 'chai'
import { answerOf, ask, get, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource } from '../support/hub.ts'
import { blockWith, runPage, servePage } from '../support/pages.ts'
import { startRedis } from '../support/redis.ts'
import { ends, isLeft, resets, serve, serveInTurn, stays, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Puts a server in the place of the one that the pages name. */
const inPlaceOf3000 = ({ url }: TestServer) => ({ 'http://localhost:3000': new URL(url).origin })

describe('a program of the guides', () => {
  it('docs/command.md: the proxy shares feeds, passes the rest on, and refuses requests without credentials', async () => {
    await using upstream = await serve((req, res) => {
      if (req.url === '/page') res.end('a page')
      else stays(wire(1))(req, res)
    })
    const code = blockWith('docs/command.md', 'createSseProxy({')
    await using server = await servePage(code, inPlaceOf3000(upstream))
    expect(await answerOf(`${server.url}/page`)).to.include({ status: 401 })
    const headers = { authorization: 'Bearer a' }
    expect(await answerOf(`${server.url}/page`, headers)).to.include({ status: 200, text: 'a page' })
    using first = ask(`${server.url}/feed/1`, { ...eventSource, ...headers })
    await has(first, 'event 1')
    using second = ask(`${server.url}/feed/1`, { ...eventSource, ...headers })
    await has(second, 'id: ')
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/page', '/feed/1'])
    expect(await answerOf(server.url, { ...headers, connection: 'upgrade', upgrade: 'x' })).to.include({
      status: 501,
    })
  })

  it('docs/fleet.md: two processes have one upstream connection, and the second takes it over when the first stops', async () => {
    await using redis = await startRedis()
    await using upstream = await serveInTurn(stays(wire(1)), stays(wire(1), wire(2)))
    const code = blockWith('docs/fleet.md', 'redisStore(createClient(')
    const addresses = { ...inPlaceOf3000(upstream), 'redis://localhost:6379': redis.url }
    await using one = await servePage(code, addresses)
    await using two = await servePage(code, addresses)
    const first = ask(one.url, eventSource)
    await has(first, 'event 1')
    using second = ask(two.url, { ...eventSource, 'last-event-id': '0-0' })
    await has(second, 'id: ')
    expect(upstream.requests).to.have.length(1)
    first.leave()
    one.program.child.kill('SIGTERM')
    expect(await one.program.ended).to.include({ code: 0 })
    await has(second, 'event 2')
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([undefined, '1'])
  })

  it('docs/metrics.md: a server of metrics and logs', async () => {
    await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2)))
    await using server = await servePage(
      blockWith('docs/metrics.md', 'collectMetrics'),
      inPlaceOf3000(upstream),
    )
    using client = await get(`${server.url}/events`, eventSource)
    await has(client, 'event 2')
    const { text, headers } = await answerOf(`${server.url}/metrics`)
    expect(headers['content-type']).to.match(/^text\/plain/)
    expect(text).to.include('sse_events_total{name="app"} 2\n')
    expect(text).to.include('sse_reconnects_total{name="app",reason="reset"} 1\n')
    expect(server.program.out).to.match(/^\{.*"name":"app".*"msg":"upstream retry"\}$/m)
  })

  it('docs/shared-streams.md: a job is started once, read to its end, and stopped', async () => {
    const step = 'data: a\n\nevent: done\ndata: b\n\n'
    await using upstream = await serve((req, res) => (req.method === 'POST' ? stays(step) : ends())(req, res))
    const code = `${blockWith('docs/shared-streams.md', 'lastEventOf')}
      console.log(await startJob('1', 'x').then(({ state }) => state))
      await startJob('1', 'x')
      console.log(await lastEventOf('1'), await isRunning('1'), await stopJob('1'))
      await hub.close()`
    await using program = await runPage(code, inPlaceOf3000(upstream))
    const { out, err } = await program.program.ended
    expect(err).to.equal('')
    expect(out).to.equal('running\nb false false\n')
    expect(upstream.requests.map(({ method, url }) => `${method} ${url}`)).to.deep.equal(['POST /jobs'])
  })

  describe('docs/migration.md', () => {
    it('a generator as an upstream: events of the process, kept for a client that returns', async () => {
      await using server = await servePage(blockWith('docs/migration.md', 'new EventEmitter()'), {})
      const client = ask(server.url, eventSource)
      await has(client, 'data: ')
      client.leave()
      const lastEventId = /^id: (.*)\ndata: /m.exec(client.text)?.[1] ?? ''
      using again = ask(server.url, { ...eventSource, 'last-event-id': lastEventId })
      await has(again, 'data: ')
      const [last = ''] = dataIn(client)
      expect(dataIn(again)[0]).to.not.equal(last)
      expect(Number(new Date(dataIn(again)[0] ?? ''))).to.be.greaterThan(Number(new Date(last)))
    })

    it('the proxy in place of http-proxy', async () => {
      await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2)))
      const code = blockWith('docs/migration.md', 'createServer(proxy)')
      await using server = await servePage(code, inPlaceOf3000(upstream))
      const client = ask(`${server.url}/a`, eventSource)
      await has(client, 'event 2')
      client.leave()
      await isLeft(upstream)
    })

    it('a source in place of a client, for a program that only reads', async () => {
      await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2)))
      await using reader = await runPage(blockWith('docs/migration.md', 'for await (const { event, data'), {
        'http://localhost:3000': new URL(upstream.url).origin,
      })
      await until(
        () => reader.program.out === 'message event 1 1\nmessage event 2 2\n',
        () => `both events in ${reader.program.out}${reader.program.err}`,
      )
    })
  })
})
