import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createClient } from 'redis'
import { certificate } from '../support/certificate.ts'
import { runNode } from '../support/child.ts'
import { answerOf, ask, got, onFreePorts, over, patience, quick, start } from '../support/command.ts'
import { wire } from '../support/events.ts'
import { dataIn } from '../support/hub.ts'
import { publisher } from '../support/publisher.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { freePort, serve, stays } from '../support/server.ts'

// The name of a shared stream has the host that the client asked for: a balancer passes it on.
const watch = (url: string) => ask(url, 'GET', { accept: 'text/event-stream', host: 'feed.test' })
const sharing = ['--share', 'true', '--from', 'start', ...quick]

describe('the command with --redis', function () {
  this.timeout(3 * patience)
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis[Symbol.asyncDispose]())

  it('has one upstream connection for two commands, and at SIGTERM gives it up before its other requests have ended', async () => {
    await using feed = await publisher(wire)
    const args = ['--upstream', feed.server.url, '--redis', redis.url, '--drain', '3600', ...sharing]
    await using owner = await start(args)
    await using other = await start(args)
    using first = watch(`${owner.url}/a`)
    feed.publish()
    await got(first, 'event 1')
    using second = watch(`${other.url}/a`)
    await got(second, 'event 1')
    expect(feed.server.requests).to.have.length(1)
    using upload = ask(`${owner.url}/a`, 'POST')
    await got(upload, 'event 1')

    owner.program.child.kill('SIGTERM')
    await owner.line(/msg=draining streams=1 requests=1 /)
    await over(first)
    feed.publish()
    await got(second, 'event 2')
    expect(dataIn(second)).to.deep.equal(['event 1', 'event 2'])
    expect(feed.server.requests[2]?.headers).to.include({ 'last-event-id': '1' })
    expect(upload.over).to.equal(undefined)
    feed.end()
    expect((await owner.program.ended).code).to.equal(0)
    expect(upload.over).to.equal('end')
    expect(owner.log + other.log).not.to.match(/level=(error|warn)/)
  })

  it('lets a completion run to its end at SIGTERM', async () => {
    await using feed = await publisher(wire)
    const args = ['--upstream', feed.server.url, '--redis', redis.url, '--drain', '3600', ...sharing]
    await using gateway = await start([...args, '--resume', 'before-first-event'])
    using client = watch(`${gateway.url}/b`)
    feed.publish()
    await got(client, 'event 1')
    gateway.program.child.kill('SIGTERM')
    await gateway.line(/msg=draining streams=0 requests=1 /)
    feed.publish()
    await got(client, 'event 2')
    feed.end()
    expect((await gateway.program.ended).code).to.equal(0)
    expect(client.over).to.equal('end')
  })

  it('stops although Redis does not answer', async () => {
    await using own = await startRedis()
    await using upstream = await serve(stays(wire(1)))
    await using gateway = await start(['--upstream', upstream.url, '--redis', own.url, ...sharing])
    using client = watch(`${gateway.url}/c`)
    await got(client, 'event 1')
    own.suspend()
    gateway.program.child.kill('SIGTERM')
    expect((await gateway.program.ended).code).to.equal(0)
    expect(client.over).to.equal('end')
  })

  it('has no credentials of its URL in logs, answers and metrics', async () => {
    await using own = await startRedis()
    const admin = await createClient({ url: own.url }).connect()
    await admin.configSet('requirepass', 'tiger@cat')
    admin.destroy()
    await using upstream = await serve(stays(wire(1)))
    const args = ['--upstream', upstream.url, '--log-level', 'debug', ...sharing]
    const url = (password: string) => `redis://:${password}@127.0.0.1:${own.port}/0`
    await using gateway = await start(args, [], { RESILIENT_SSE_REDIS: url('tiger%40cat'), DEBUG: '*' })
    expect(await gateway.line(/"?redis connected/)).to.include(`redis=redis://127.0.0.1:${own.port}/0`)
    using client = watch(`${gateway.url}/d`)
    await got(client, 'event 1')
    const metrics = await answerOf(`${gateway.adminUrl}/metrics`)
    await using wrong = await start(args, [], { RESILIENT_SSE_REDIS: url('tiger%40bat'), DEBUG: '*' })
    expect(await wrong.line(/redis cannot be reached/)).to.match(/level=warn .*WRONGPASS/)
    expect(metrics.text + client.text + gateway.log + wrong.log).not.to.match(/tiger/)
  })

  it('starts without Redis, and says that Redis cannot be reached', async () => {
    await using upstream = await serve(stays(wire(1)))
    const port = await freePort()
    const args = ['--upstream', upstream.url, '--redis', `redis://127.0.0.1:${port}`, ...sharing]
    await using gateway = await start(args)
    expect(await gateway.line(/redis cannot be reached/)).to.match(/level=warn .*ECONNREFUSED/)
    using client = ask(`${gateway.url}/other`, 'POST')
    await got(client, 'event 1')
  })

  it('connects to rediss: URLs with TLS', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-'))
    const cert = join(folder, 'cert')
    const key = join(folder, 'key')
    writeFileSync(cert, certificate.cert)
    writeFileSync(key, certificate.key)
    const tlsPort = await freePort()
    const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-auth-clients', 'no']
    await using own = await startRedis('--tls-port', `${tlsPort}`, ...files)
    await using upstream = await serve(stays(wire(1)))
    const args = ['--upstream', upstream.url, '--redis', `rediss://localhost:${tlsPort}`, ...sharing]
    await using gateway = await start(args, [], { NODE_EXTRA_CA_CERTS: cert })
    using client = watch(`${gateway.url}/e`)
    await got(client, 'event 1')
    const admin = await createClient({ url: own.url }).connect()
    expect(await admin.keys('rs:{GET */e *}')).to.have.length(1)
    admin.destroy()
    rmSync(folder, { recursive: true })
  })

  it('warns when no path shares its streams', async () => {
    await using gateway = await start(['--upstream', 'http://a.test', '--redis', redis.url])
    expect(await gateway.line(/redis is not used/)).to.match(/level=warn .*share/)
    expect(gateway.log).not.to.include('redis connected')
  })

  it('says that the package redis is missing, exit code 1', async () => {
    const hooks = `export function resolve(name, context, next) {
      if (name === 'redis') throw new Error('not found')
      return next(name, context)
    }`
    const dataUrl = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`
    const register = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))})`
    const args = ['--upstream', 'http://host', '--redis', 'redis://:secret@host', '--share', 'true']
    const hook = ['--import', dataUrl(register)]
    const { code, err } = await runNode('src/cli.ts', [...args, ...onFreePorts], {}, hook)
    expect(code).to.equal(1)
    expect(err).to.match(/^resilient-sse: --redis needs the package redis .*npm install redis$/m)
    expect(err).not.to.include('secret')
  })
})
