import { expect } from 'chai'
import { ask, got, over, patience, quick, start } from '../support/command.ts'
import { fileOf } from '../support/config.ts'
import { wire } from '../support/events.ts'
import { dataIn, idOf } from '../support/hub.ts'
import { answers, isLeft, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const sse = { accept: 'text/event-stream' }
const watch = (url: string, headers = {}) => ask(url, 'GET', { ...sse, ...headers })

describe('the command with shared streams', function () {
  this.timeout(2 * patience)

  it('has one upstream connection for clients with the same credentials, and resumes for all of them', async () => {
    await using upstream = await serve((request, response) => {
      const after = Number(request.headers['last-event-id'] ?? 0)
      stream(response, wire(after + 1), wire(after + 2))
    })
    await using gateway = await start([
      '--upstream',
      upstream.url,
      '--share',
      'true',
      '--from',
      'start',
      ...quick,
    ])
    using one = watch(gateway.url, { authorization: 'a' })
    using two = watch(gateway.url, { authorization: 'a' })
    await got(one, 'event 2')
    await got(two, 'event 2')
    expect(upstream.requests).to.have.length(1)
    using stranger = watch(gateway.url, { authorization: 'b' })
    await got(stranger, 'event 2')
    expect(upstream.requests).to.have.length(2)
    upstream.requests[0]?.socket.resetAndDestroy()
    for (const client of [one, two]) {
      await got(client, 'event 4')
      expect(dataIn(client)).to.deep.equal(['event 1', 'event 2', 'event 3', 'event 4'])
    }
    expect(stranger.text).not.to.include('event 3')
    expect(upstream.requests[2]?.headers).to.include({ authorization: 'a', 'last-event-id': '2' })
    expect(await gateway.line(/upstream retry/)).to.match(/level=info .*name=\/ /)
  })

  it('shares on the paths of the file that say so, and gives a client that returns what it has missed', async () => {
    await using upstream = await serve(stays(wire(1), wire(2)))
    using file = fileOf({
      defaults: { upstream: `http://127.0.0.1:${upstream.port}`, linger: 'Infinity' },
      paths: { '/feed/': { share: true }, '/': {} },
    })
    await using gateway = await start(['--config', file.path])
    for (const [path, id, count] of [
      ['/feed/a', /^\d+-1\/1$/, 1],
      ['/other', /^1$/, 2],
    ] as const) {
      const before = upstream.requests.length
      const first = watch(gateway.url + path)
      await got(first, 'event 2')
      const last = idOf(first, 'event 1')
      expect(last).to.match(id)
      first[Symbol.dispose]()
      using again = watch(gateway.url + path, { 'last-event-id': last })
      await got(again, 'event 2')
      if (count === 1) expect(dataIn(again)).to.deep.equal(['event 2'])
      expect(upstream.requests.length - before).to.equal(count)
    }
  })

  it('tells the clients of shared streams to come back at SIGTERM, counts them, and exits at once', async () => {
    await using upstream = await serve(stays(wire(1)))
    const args = ['--share', 'true', '--from', 'start', '--linger', 'Infinity', '--drain', '3600']
    await using gateway = await start(['--upstream', upstream.url, ...args])
    using one = watch(gateway.url)
    using two = watch(gateway.url)
    for (const client of [one, two]) await got(client, 'event 1')
    gateway.program.child.kill('SIGTERM')
    expect((await gateway.program.ended).code).to.equal(0)
    for (const client of [one, two]) {
      await over(client)
      expect(client.over).to.equal('end')
      expect(Number(/\n\nretry: (\d+)\n$/.exec(client.text)?.[1])).to.be.within(1000, 5000)
    }
    expect(gateway.log).to.match(/msg=draining streams=2 requests=0 /)
    expect(gateway.log).to.match(/msg=stopped/)
    expect(gateway.log).not.to.match(/level=(error|warn)/)
    await isLeft(upstream)
  })

  it('lets a shared stream that must not be asked for again run to its end, and breaks it off at the limit', async () => {
    for (const limit of ['3600', '0.2']) {
      let end = () => {}
      await using upstream = await serve((_, response) => {
        stream(response, wire(1))
        end = () => response.end(wire(2))
      })
      const args = ['--share', 'true', '--resume', 'before-first-event', '--drain', limit]
      await using gateway = await start(['--upstream', upstream.url, ...args])
      using client = watch(gateway.url)
      await got(client, 'event 1')
      gateway.program.child.kill('SIGTERM')
      await gateway.line(/msg=draining streams=0 requests=1 /)
      if (limit === '3600') end()
      expect((await gateway.program.ended).code).to.equal(0)
      await over(client)
      expect(client.over).to.equal(limit === '3600' ? 'end' : 'broken')
      expect(client.text.includes('event 2')).to.equal(limit === '3600')
    }
  })

  it('logs one line for a stream that fails, however many clients it has', async () => {
    let refuse = () => {}
    await using upstream = await serveInTurn(resets(wire(1)), (request, response) => {
      refuse = () => answers(404)(request, response)
    })
    const args = ['--share', 'true', '--from', 'start', ...quick]
    await using gateway = await start(['--upstream', upstream.url, ...args])
    using one = watch(gateway.url)
    using two = watch(gateway.url)
    await got(one, 'event 1')
    await got(two, 'event 1')
    await until(
      () => upstream.requests.length === 2,
      () => 'the retry',
    )
    refuse()
    await over(one)
    await over(two)
    await until(
      () => gateway.log.includes('msg="stream over"'),
      () => gateway.log,
    )
    expect(gateway.log.match(/level=(error|warn)/g)).to.have.length(1)
    expect(await gateway.line(/msg="stream over"/)).to.match(/name=\/ .*outcome=failed .*code=ERR_SSE_STATUS/)
  })
})
