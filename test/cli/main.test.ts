import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http, { type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { type Program, runNode, startModule } from '../support/child.ts'
import {
  answerOf,
  ask,
  type Client,
  got,
  onFreePorts,
  over,
  patience,
  quick,
  run,
  start,
} from '../support/command.ts'
import { ends, freePort, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Numbers events without end, from where its client is: a program of its own, for kill -9. */
const countingUpstream = `
  import http from 'node:http'
  http.createServer((request, response) => {
    let id = Number(request.headers['last-event-id'] ?? 0)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => response.write('id: ' + ++id + '\\ndata: ' + id + '\\n\\n'), 5)
    response.on('close', () => clearInterval(timer))
  }).listen(Number(process.argv[1]), '127.0.0.1', () => console.log('ready'))`

async function startUpstream(port: number): Promise<Program> {
  const program = await startModule(countingUpstream, [String(port)])
  await until(
    () => program.out.includes('ready'),
    () => 'the upstream',
    patience,
  )
  return program
}

const idsOf = ({ text }: Client) => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))

describe('resilient-sse', function () {
  this.timeout(2 * patience)

  it('keeps the connection and all events of a client over a kill -9 of the upstream', async () => {
    const port = await freePort()
    const first = await startUpstream(port)
    await using gateway = await start([
      '--upstream',
      `http://127.0.0.1:${port}`,
      ...quick,
      '--max-retries',
      '500',
    ])
    using client = ask(`${gateway.url}/events`)
    await got(client, 'id: 20\n')
    first.child.kill('SIGKILL')
    await first.ended
    await gateway.line(/upstream retry/)
    const before = idsOf(client).length
    await using _ = await startUpstream(port)
    await until(
      () => idsOf(client).length > before + 20,
      () => 'more events',
    )
    expect(client.over).to.equal(undefined)
    expect(idsOf(client)).to.deep.equal(idsOf(client).map((_, n) => n + 1))
    expect(await gateway.line(/upstream open/)).to.match(
      / level=info .* attempt=\d+ opens=1 cursor=\d+ after=reset$/,
    )
  })

  it('sends a request to the upstream of the longest path that fits, and answers 404 when no path fits', async () => {
    const named =
      (name: string): RequestListener =>
      (request, response) =>
        response.end(name + request.url)
    await using one = await serve(named('one '))
    await using two = await serve(named('two '))
    const paths = { '/v1/': { upstream: `http://127.0.0.1:${one.port}` } }
    const more = { ...paths, '/v1/chat/': { upstream: `http://127.0.0.1:${two.port}/base` } }
    using folder = temporaryFolder()
    const file = join(folder.path, 'conf.json')
    writeFileSync(file, JSON.stringify({ paths: more }))
    await using gateway = await start(['--config', file])
    expect((await answerOf(`${gateway.url}/v1/x?a=1`)).text).to.equal('one /v1/x?a=1')
    expect((await answerOf(`${gateway.url}/v1/chat/x`)).text).to.equal('two /base/v1/chat/x')
    expect((await answerOf(`${gateway.url}/v2/`)).status).to.equal(404)
  })

  it('prints help and version to stdout', async () => {
    const help = await run('--help')
    expect(help).to.include({ code: 0 })
    expect(help.out).to.include('--upstream URL').and.to.include('RESILIENT_SSE_BASE_DELAY')
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    expect(await run('--version')).to.deep.include({ code: 0, out: `${version}\n` })
  })

  for (const [args, part] of [
    [['--upstream', 'http://host', '--base-delay', 'x\nresilient-sse: all is well'], '--base-delay'],
    [['--upstream', 'http://host', '--bse-delay', '5'], 'did you mean --base-delay?'],
    [[], '--upstream'],
    [['--config', '/nowhere.json'], '/nowhere.json'],
  ] as const) {
    it(`says in one line what is wrong with ${JSON.stringify(args)}, exit code 2`, async () => {
      const { code, out, err } = await run(...args)
      expect(code).to.equal(2)
      expect(out).to.equal('')
      expect(err.trimEnd().split('\n'), err).to.have.length(1)
      expect(err)
        .to.match(/^resilient-sse: /)
        .and.to.include(part)
      expect(err.match(/see --help/g), err).to.have.length(1)
    })
  }

  for (const flag of ['--bind', '--metrics-bind']) {
    it(`says that the port of ${flag} is in use, exit code 1`, async () => {
      await using taken = await serve(() => {})
      const { code, err } = await run(
        '--upstream',
        'http://host',
        ...onFreePorts,
        flag,
        `127.0.0.1:${taken.port}`,
      )
      expect(code).to.equal(1)
      expect(err).to.match(
        new RegExp(`^resilient-sse: cannot listen on .*:${taken.port}.*EADDRINUSE.*$`, 'm'),
      )
    })
  }

  it('says that prom-client is missing, exit code 1', async () => {
    const hooks = `export function resolve(name, context, next) {
      if (name === 'prom-client') throw new Error('not found')
      return next(name, context)
    }`
    const register = `import { register } from 'node:module'; register(${JSON.stringify(dataUrl(hooks))})`
    const args = ['--upstream', 'http://host', ...onFreePorts]
    const { code, err } = await runNode('src/cli.ts', args, {}, ['--import', dataUrl(register)])
    expect(code).to.equal(1)
    expect(err).to.match(/^resilient-sse: .*prom-client.*$/m)
  })

  it('goes on after a fault in one request', async () => {
    const fault = `process.on('SIGUSR2', () => { Promise.reject(new Error('one')); throw new Error('two') })`
    await using upstream = await serve((_, response) => response.end('fine'))
    await using gateway = await start(['--upstream', upstream.url], ['--import', dataUrl(fault)])
    gateway.program.child.kill('SIGUSR2')
    await gateway.line(/level=error msg=fault error=one stack=/)
    await gateway.line(/level=error msg=fault error=two stack=/)
    expect((await answerOf(gateway.url)).text).to.equal('fine')
  })

  it('logs a request that its upstream has failed, without its query', async () => {
    const port = await freePort()
    await using gateway = await start(['--upstream', `http://127.0.0.1:${port}`])
    expect((await answerOf(`${gateway.url}/x?token=secret`)).status).to.equal(502)
    const line = await gateway.line(/request failed/)
    expect(line).to.match(/ level=warn msg="request failed" method=GET path=\/x code=ERR_SSE_CONNECT error=/)
  })

  it('passes on a 100 of the upstream, and sends none itself', async () => {
    await using upstream = await serve(() => {})
    upstream.server.on('checkContinue', (_, response: http.ServerResponse) => response.writeHead(403).end())
    await using gateway = await start(['--upstream', upstream.url])
    const headers = { expect: '100-continue', 'content-length': 5 }
    const request = http.request(gateway.url, { method: 'PUT', agent: false, headers })
    let continued = false
    request.on('continue', () => {
      continued = true
    })
    request.flushHeaders()
    const status = await new Promise((resolve, reject) => {
      request.on('response', (response) => resolve(response.statusCode)).on('error', reject)
    })
    expect([status, continued]).to.deep.equal([403, false])
    request.destroy()
  })

  it('does not count the time of its own suspension as silence of the upstream', async () => {
    let answer = () => {}
    await using upstream = await serve((_, response) => {
      answer = () => response.end('in time')
    })
    await using gateway = await start(['--upstream', upstream.url, '--response-timeout', '500'])
    using client = ask(gateway.url)
    await until(
      () => upstream.requests.length === 1,
      () => 'the request',
    )
    gateway.program.child.kill('SIGSTOP')
    answer()
    // Longer than the timeout: the process is away for so long, and must then see the answer first.
    await sleep(800)
    gateway.program.child.kill('SIGCONT')
    await over(client)
    expect(client).to.include({ status: 200, text: 'in time' })
  })

  for (const [what, method, headers, args, text] of [
    ['[DONE] as the end of a stream', 'GET', {}, [], 'id: 1\ndata: 1\n\ndata: [DONE]\n\n'],
    ['a clean end as the end for a program', 'GET', { accept: 'application/json' }, [], 'data: 1\n\n'],
    ['a clean end as the end for a POST', 'POST', {}, [], 'data: 1\n\n'],
    [
      'the event of --terminal as the end of a stream',
      'GET',
      {},
      ['--terminal', 'event=done'],
      'id: 1\nevent: done\ndata: 1\n\n',
    ],
  ] as const) {
    it(`treats ${what}`, async () => {
      await using upstream = await serve((request, response) => {
        request.resume()
        stream(response, text).end()
      })
      await using gateway = await start(['--upstream', upstream.url, ...quick, ...args])
      using client = ask(gateway.url, method, headers)
      await over(client)
      expect(client).to.include({ over: 'end', text })
      expect(upstream.requests).to.have.length(1)
    })
  }

  it('treats an end without the given terminal event as a drop', async () => {
    await using upstream = await serve(ends('data: 1\n\n'))
    await using gateway = await start(['--upstream', upstream.url, '--terminal', 'event=done'])
    using client = ask(gateway.url, 'POST')
    await over(client)
    expect(client).to.include({ over: 'broken', text: 'data: 1\n\n' })
  })

  describe('metrics', () => {
    it('are served beside healthz and readyz, and count', async () => {
      await using upstream = await serveInTurn(resets('id: 1\ndata: 1\n\n'), stays('id: 2\ndata: 2\n\n'))
      await using gateway = await start(['--upstream', upstream.url, ...quick])
      using client = ask(gateway.url)
      await got(client, 'data: 2\n\n')
      const { status, text } = await answerOf(`${gateway.adminUrl}/metrics`)
      expect(status).to.equal(200)
      expect(text).to.include('sse_reconnects_total{name="/",reason="reset"} 1\n')
      expect(text)
        .to.include('sse_events_total{name="/"} 2\n')
        .and.to.include('sse_streams_open{name="/"} 1\n')
      expect(await answerOf(`${gateway.adminUrl}/healthz`)).to.include({ status: 200, text: 'alive\n' })
      expect(await answerOf(`${gateway.adminUrl}/readyz?verbose`)).to.include({
        status: 200,
        text: 'ready\n',
      })
      expect((await answerOf(`${gateway.adminUrl}/other`)).status).to.equal(404)
      using post = ask(`${gateway.adminUrl}/metrics`, 'POST')
      await over(post)
      expect(post.status).to.equal(405)
    })
  })

  describe('log', () => {
    /** Drops, and then answers 410. */
    const fails = () =>
      serveInTurn(resets('id: 1" level=error\ndata: 1\n\n'), (_, response) => response.writeHead(410).end())

    it('has a logfmt line for a retry, with its drop, and for a failure', async () => {
      await using upstream = await fails()
      await using gateway = await start(['--upstream', `http://127.0.0.1:${upstream.port}`, ...quick])
      using client = ask(`${gateway.url}/events?token=secret`)
      await over(client)
      const about = `upstream="http://127.0.0.1:${upstream.port}/events?token=*"`
      const time = /^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /
      const retry = await gateway.line(/upstream retry/)
      expect(retry)
        .to.match(time)
        .and.to.match(/ level=info msg="upstream retry" streamId=\d+ name=\/ upstream=/)
      expect(retry).to.include(
        `${about} attempt=0 delay=20 source=backoff failed=false after=reset code=ERR_SSE_DROPPED error="`,
      )
      expect(await gateway.line(/level=error/)).to.include(
        `${about} outcome=failed failed=true after=reset code=ERR_SSE_STATUS error=`,
      )
      expect(client.over).to.equal('broken')
      expect(gateway.log).not.to.include('secret')
      expect(gateway.log, 'a failure is logged once').not.to.include('request failed')
    })

    it('has the same fields as JSON, and text from outside stays a value', async () => {
      await using upstream = await serveInTurn(
        resets('id: "}\u2028\u009b\ndata: 1\n\n'),
        stays('data: 2\n\n'),
      )
      await using gateway = await start([
        ...['--upstream', `http://127.0.0.1:${upstream.port}`],
        ...quick,
        ...['--log-format', 'json', '--log-level', 'debug'],
      ])
      using client = ask(`${gateway.url}/%0A%22level%22?a"b=1`)
      await got(client, 'data: 2\n\n')
      const line = await gateway.line(/"upstream open".*"opens":1/)
      expect(line).to.match(/^[\x20-\x7e]+$/)
      expect(JSON.parse(line)).to.deep.include({ level: 'info', attempt: 0, cursor: '"}\u2028\u009b' })
      for (const each of gateway.log.trimEnd().split('\n'))
        expect(JSON.parse(each)).to.include.keys('time', 'level', 'msg')
    })
  })
})

function dataUrl(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`
}

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'cli-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}
