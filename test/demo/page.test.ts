import { once } from 'node:events'
import http from 'node:http'
import { createServer } from 'node:net'
import { expect } from 'chai'
import { runNode } from '../support/child.ts'
import { answerOf, ask } from '../support/client.ts'
import { type Demo, startDemo } from '../support/demo.ts'
import { eventSource } from '../support/hub.ts'
import { until } from '../support/until.ts'

const parts = [
  ['/', 'text/html; charset=utf-8', '<h1>resilient-sse</h1>'],
  ['/main.js', 'text/javascript; charset=utf-8', 'from "./lane.js"'],
  ['/lane.js', 'text/javascript; charset=utf-8', 'class Lane'],
  ['/style.css', 'text/css; charset=utf-8', 'light-dark('],
  ['/icon.svg', 'image/svg+xml', '<svg'],
] as const

/** The status of the answer to a request; not by fetch, which sets the Host field itself. */
async function statusOf(url: string, headers: http.OutgoingHttpHeaders): Promise<number | undefined> {
  const request = http.get(url, { headers, agent: false })
  const [response] = await once(request, 'response')
  response.destroy()
  return response.statusCode
}

describe('the page of the demonstration', () => {
  let demo: Demo

  before(async () => {
    demo = await startDemo()
  })

  after(() => demo[Symbol.asyncDispose]())

  const origins = () => Object.values(demo.status.addresses).map((url) => new URL(url).origin)

  it('has parts that hold no script and no style of their own, and a policy that allows none', async () => {
    for (const [path, type, text] of parts) {
      const response = await fetch(demo.origin + path)
      expect(response.status, path).to.equal(200)
      expect(response.headers.get('content-type')).to.equal(type)
      expect(response.headers.get('x-content-type-options')).to.equal('nosniff')
      const body = await response.text()
      expect(body).to.include(text)
      // Nothing of TypeScript is left for the browser.
      if (path.endsWith('.js')) expect(body).not.to.match(/\.ts["']|: string|import type/)
      const policy = response.headers.get('content-security-policy') ?? ''
      expect(policy).to.include("default-src 'none'; script-src 'self'; style-src 'self'")
      expect(policy).not.to.include('unsafe')
      for (const origin of origins()) expect(policy).to.include(origin)
    }
    const page = await (await fetch(demo.origin)).text()
    expect(page).not.to.match(/<style|\sstyle=|\son\w+=|<script(?![^>]* src=)/)
  })

  it('is there for its own hosts only, on the loopback interface, as are the streams', async () => {
    for (const origin of [demo.origin, ...origins()]) {
      const { port, hostname } = new URL(origin)
      expect(hostname).to.equal('127.0.0.1')
      const path = origin === demo.origin ? '/' : '/events'
      for (const host of [
        'attacker.example',
        `attacker.example:${port}`,
        '127.0.0.1',
        `127.0.0.1.example:${port}`,
      ]) {
        expect(await statusOf(origin + path, { host }), `${host} at ${origin}`).to.equal(421)
      }
      for (const host of [`127.0.0.1:${port}`, `localhost:${port}`]) {
        expect(await statusOf(origin + path, { host }), host).to.equal(200)
      }
    }
  })

  it('alone may read the streams, from either of its origins', async () => {
    const { gateway, pipe } = demo.status.addresses
    const own = [demo.origin, demo.origin.replace('127.0.0.1', 'localhost')]
    for (const url of [gateway, pipe, `${demo.origin}/status`]) {
      for (const origin of [...own, 'http://attacker.example', 'null']) {
        using client = ask(url, { ...eventSource, origin })
        await until(
          () => client.status === 200,
          () => `${url} answers`,
        )
        const allowed = own.includes(origin) ? origin : undefined
        expect(client.headers['access-control-allow-origin'], `${origin} at ${url}`).to.equal(allowed)
      }
    }
  })

  it('alone may break anything', async () => {
    const paths = ['/upstream/kill', '/sessions', '/sessions/owner/kill']
    const others = [
      {},
      { origin: 'http://attacker.example' },
      { origin: 'null' },
      { origin: origins()[0] ?? '' },
    ]
    for (const path of paths) {
      for (const headers of others) expect((await demo.post(path, headers)).status, path).to.equal(403)
      const read = await fetch(demo.origin + path)
      expect(read.status).to.equal(405)
      expect(read.headers.get('allow')).to.equal('POST')
    }
    expect(demo.status).to.include({ upstream: 'up' })
    expect(demo.status.sessions).to.deep.equal([])
  })

  it('answers 404 and 405 to what it does not have', async () => {
    expect((await fetch(`${demo.origin}/toString`)).status).to.equal(404)
    expect((await demo.post('/upstream/toString')).status).to.equal(405)
    expect((await demo.post('/')).headers.get('allow')).to.equal('GET, HEAD')
    expect((await fetch(demo.origin, { method: 'HEAD' })).status).to.equal(200)
    const [gateway = ''] = origins()
    expect(await answerOf(`${gateway}/other`)).to.include({ status: 404 })
    expect(await answerOf(`${demo.status.addresses.sessions}unknown`)).to.include({ status: 404 })
  })

  it('cannot kill the owner of an answer before the answer is asked for', async () => {
    expect((await demo.post('/sessions/owner/kill')).status).to.equal(409)
  })
})

describe('the command that serves the page', () => {
  it('ends with its processes at Ctrl-C, and with exit code 0', async () => {
    await using demo = await startDemo()
    const pids = demo.status.gateways.map(({ pid }) => pid ?? 0)
    expect(pids).to.have.length(2)
    // As a terminal does: to each of its processes.
    for (const pid of pids) process.kill(pid, 'SIGINT')
    const heard = demo.news.text.length
    await until(
      () => demo.news.text.includes('event: published', heard),
      () => 'the demonstration goes on',
    )
    expect(demo.status.gateways.map(({ pid }) => pid)).to.deep.equal(pids)
    demo.program.child.kill('SIGINT')
    const { code, err } = await demo.program.ended
    expect({ code, err }).to.deep.equal({ code: 0, err: '' })
    for (const pid of pids) expect(() => process.kill(pid, 0)).to.throw(/ESRCH/)
  })

  it('leaves no process behind when it is killed', async () => {
    await using demo = await startDemo()
    const pids = demo.status.gateways.map(({ pid }) => pid ?? 0)
    demo.program.child.kill('SIGKILL')
    const isGone = (pid: number) => {
      try {
        return !process.kill(pid, 0)
      } catch {
        return true
      }
    }
    await until(
      () => pids.every(isGone),
      () => 'the gateway processes end',
    )
  })

  it('names the port that it was given when that port is in use, with exit code 1', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const { code, err } = await runNode('src/cli.ts', ['demo', '--port', `${port}`])
    other.close()
    expect(code).to.equal(1)
    expect(err).to.include(`${port}`).and.to.include('EADDRINUSE')
  })

  it('takes another port when the usual one is in use', async () => {
    await using first = await startDemo('at the usual port')
    await using second = await startDemo('at the usual port')
    expect(first.origin).not.to.equal(second.origin)
  })

  it('says that a gateway process is not for users', async () => {
    const { code, err } = await runNode('src/cli.ts', ['demo', 'gateway'])
    expect(code).to.equal(2)
    expect(err).to.include('Only the demonstration itself')
  })
})
