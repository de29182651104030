import { expect } from 'chai'
import { answerOf, ask, got, over, patience, start } from '../support/command.ts'
import { serve, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

describe('a drain of the command', function () {
  this.timeout(2 * patience)

  it('ends streams with a reconnection time, and exits', async () => {
    await using upstream = await serve(stays('id: 1\ndata: 1\n\n'))
    await using gateway = await start(['--upstream', upstream.url])
    using one = ask(gateway.url)
    using two = ask(gateway.url)
    await got(one, 'data: 1\n\n')
    await got(two, 'data: 1\n\n')
    gateway.program.child.kill('SIGTERM')
    expect((await gateway.program.ended).code).to.equal(0)
    await over(one)
    await over(two)
    for (const { over, text } of [one, two]) {
      expect(over).to.equal('end')
      const retry = Number(/\n\nretry: (\d+)\n$/.exec(text)?.[1])
      expect(retry).to.be.within(1000, 5000)
    }
    expect(gateway.log).to.match(/msg=draining streams=2 requests=0 /)
    expect(gateway.log).not.to.include('level=error')
    await until(
      () => upstream.sockets.size === 0,
      () => 'the upstream let go',
    )
  })

  it('lets other requests end, reports that it is not ready, and accepts no new connections', async () => {
    let end = () => {}
    await using upstream = await serve((request, response) => {
      if (request.method === 'POST') stream(response, 'data: 1\n\n')
      end = () => response.end('data: 2\n\n')
    })
    await using gateway = await start(['--upstream', upstream.url])
    expect((await answerOf(`${gateway.adminUrl}/readyz`)).status).to.equal(200)
    // What a POST is answered with cannot be asked for again.
    using client = ask(gateway.url, 'POST')
    await got(client, 'data: 1\n\n')
    gateway.program.child.kill('SIGINT')
    await gateway.line(/msg=draining streams=0 requests=1 /)
    expect((await answerOf(`${gateway.adminUrl}/readyz`)).status).to.equal(503)
    expect((await answerOf(`${gateway.adminUrl}/healthz`)).status).to.equal(200)
    expect((await answerOf(gateway.url)).status, 'a new connection').to.equal(undefined)
    expect(client.over).to.equal(undefined)
    end()
    expect((await gateway.program.ended).code).to.equal(0)
    await over(client)
    expect(client).to.include({ over: 'end', text: 'data: 1\n\ndata: 2\n\n' })
  })

  it('ends a stream that opens during the drain', async () => {
    let open = () => {}
    await using upstream = await serve((_, response) => {
      open = () => stream(response, 'id: 1\ndata: 1\n\n')
    })
    await using gateway = await start(['--upstream', upstream.url])
    using client = ask(gateway.url)
    await until(
      () => upstream.requests.length === 1,
      () => 'the request',
    )
    gateway.program.child.kill('SIGTERM')
    await gateway.line(/msg=draining/)
    open()
    expect((await gateway.program.ended).code).to.equal(0)
    await over(client)
    expect(client.over).to.equal('end')
    expect(client.text).to.match(/^retry: \d+\n$/)
  })

  for (const [what, status, method, headers] of [
    ['a 429 that is labelled as an event stream', 429, 'GET', {}],
    ['an event stream in a coding of its own', 200, 'GET', { 'content-encoding': 'x-odd' }],
    ['the event stream of a POST', 200, 'POST', {}],
  ] as const) {
    it(`writes nothing into ${what}, and waits for its end`, async () => {
      let end = () => {}
      await using upstream = await serve((_, response) => {
        response.writeHead(status, { 'content-type': 'text/event-stream', ...headers }).write('data: a')
        end = () => response.end('b\n\n')
      })
      await using gateway = await start(['--upstream', upstream.url])
      using client = ask(gateway.url, method)
      await got(client, 'data: a')
      gateway.program.child.kill('SIGTERM')
      await gateway.line(/msg=draining streams=0 requests=1 /)
      end()
      expect((await gateway.program.ended).code).to.equal(0)
      await over(client)
      expect(client).to.include({ over: 'end', status, text: 'data: ab\n\n' })
    })
  }

  for (const [what, method, args] of [
    ['a request', 'POST', []],
    ['a stream that must not be asked for again', 'GET', ['--resume', 'before-first-event']],
  ] as const) {
    it(`breaks ${what} off at the limit, so that its client sees a failure`, async () => {
      await using upstream = await serve(stays('data: 1\n\n'))
      await using gateway = await start(['--upstream', upstream.url, '--drain', '0.2', ...args])
      using client = ask(gateway.url, method)
      await got(client, 'data: 1\n\n')
      gateway.program.child.kill('SIGTERM')
      expect((await gateway.program.ended).code).to.equal(0)
      await over(client)
      expect(client).to.include({ over: 'broken', text: 'data: 1\n\n' })
    })
  }

  it('ends at once at a second signal', async () => {
    await using upstream = await serve(() => {})
    await using gateway = await start(['--upstream', upstream.url, '--drain', '3600'])
    using _ = ask(gateway.url)
    await until(
      () => upstream.requests.length === 1,
      () => 'the request',
    )
    gateway.program.child.kill('SIGTERM')
    await gateway.line(/msg=draining/)
    gateway.program.child.kill('SIGINT')
    expect((await gateway.program.ended).code).to.equal(130)
  })
})
