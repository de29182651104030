import { once } from 'node:events'
import net from 'node:net'
import { expect } from 'chai'
import { answerOf, ask, get, has } from '../support/client.ts'
import { serveCompletion, words, wordsIn } from '../support/completion.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, idOf } from '../support/hub.ts'
import { blockWith, runInFolder, servePage } from '../support/pages.ts'
import { ends, isLeft, resets, serve, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Sends a request as it stands, and resolves with the answer when the connection is closed. */
async function sendRaw(url: string, head: string): Promise<string> {
  const { port, hostname } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  let answer = ''
  socket.setEncoding('utf8').on('data', (text) => {
    answer += text
  })
  socket.on('error', () => {})
  socket.end(`${head}\r\nHost: gateway\r\nConnection: close\r\n\r\n`)
  await once(socket, 'close')
  return answer
}

describe('a program of the README', () => {
  describe('gateway.mjs', () => {
    const code = blockWith('README.md', 'relaySse(req, res, upstream)')

    it('passes path, query and credentials on, survives a dying upstream, and closes it when the client leaves', async () => {
      await using upstream = await serveInTurn(
        resets(wire(8), 'id: 9\ndata: ha'),
        ends(wire(9)),
        stays(wire(10)),
      )
      await using gateway = await servePage(code, { 'http://localhost:3000': new URL(upstream.url).origin })
      const credentials = { authorization: 'Bearer a', cookie: 'session=b' }
      const headers = { ...eventSource, ...credentials, 'last-event-id': '7' }
      const client = await get(`${gateway.url}/feed/prices?of=gold`, headers)
      await has(client, 'event 10')
      expect(client.text).to.equal(wire(8) + wire(9) + wire(10))
      expect(upstream.requests.map(({ url }) => url)).to.deep.equal(Array(3).fill('/feed/prices?of=gold'))
      for (const request of upstream.requests) expect(request.headers).to.include(credentials)
      expect(upstream.requests.map((request) => request.headers['last-event-id'])).to.deep.equal([
        '7',
        '8',
        '9',
      ])
      client.leave()
      await isLeft(upstream)
    })

    it('asks no other host, and goes on, whatever path a client asks for', async () => {
      await using other = await serve(stays(wire(1)))
      await using upstream = await serve(ends(wire(1)))
      await using gateway = await servePage(code, { 'http://localhost:3000': new URL(upstream.url).origin })
      const host = `127.0.0.1:${other.port}`
      for (const target of [`//${host}/`, `/\\${host}/`, `http://${host}/`, `/@${host}/`, `@${host}/`, '*']) {
        using _client = ask(gateway.url)
        await sendRaw(gateway.url, `HEAD ${target} HTTP/1.1`)
        await sendRaw(gateway.url, `OPTIONS ${target} HTTP/1.1`)
      }
      expect(other.requests).to.have.length(0)
      expect((await get(gateway.url, eventSource)).status).to.equal(200)
    })

    it("answers with the upstream's first refusal", async () => {
      await using upstream = await serve((_, res) => void res.writeHead(401).end())
      await using gateway = await servePage(code, { 'http://localhost:3000': new URL(upstream.url).origin })
      expect(await answerOf(gateway.url, eventSource)).to.include({ status: 401 })
    })
  })

  describe('llm.mjs', () => {
    const code = blockWith('README.md', '`answer:')
    const page = blockWith('README.md', 'new EventSource(')
    const api = 'http://localhost:11434/v1/chat/completions'
    const post = (url: string) => fetch(url, { method: 'POST', body: 'Why?' })

    it('serves its page, and reads an answer on while no client is there; the model is asked once', async () => {
      await using model = await serveCompletion()
      await using server = await servePage(code, { [api]: model.url }, { 'llm.html': page })
      expect((await answerOf(server.url)).text).to.equal(page)
      const answer = `${server.url}/1`
      expect((await post(answer)).status).to.equal(202)
      model.say(...words(1, 2))
      const first = ask(answer, eventSource)
      await has(first, 'word2')
      first.leave()
      model.say(...words(3, 4))
      model.finish()
      const lastEventId = /^id: (.*)\ndata: .*word2/m.exec(first.text)?.[1]
      const again = await answerOf(answer, { ...eventSource, 'last-event-id': lastEventId ?? '' })
      expect(wordsIn(again.text)).to.equal(words(3, 4).join(''))
      const loaded = await answerOf(answer, eventSource)
      expect(wordsIn(loaded.text)).to.equal(words(1, 4).join(''))
      const after = { ...eventSource, 'last-event-id': idOf(loaded, '\\[DONE\\]') }
      expect(await answerOf(answer, after)).to.include({ status: 204 })
      expect((await post(answer)).status).to.equal(202)
      expect(await answerOf(`${server.url}/2`, eventSource)).to.include({ status: 404 })
      expect(model.requests).to.equal(1)
    })

    it('tells its client that an answer has failed', async () => {
      await using model = await serveCompletion()
      await using server = await servePage(code, { [api]: model.url }, { 'llm.html': page })
      await post(`${server.url}/1`)
      model.say('half')
      using client = ask(`${server.url}/1`, eventSource)
      await has(client, 'half')
      model.cut()
      expect(await client.ended).to.equal('end')
      expect(client.text).to.match(/event: failed\ndata: .+\n\n$/)
    })

    it('is read with fetch to the last event, over connections that break', async () => {
      await using upstream = await serveInTurn(resets(wire(1, 'a')), ends(), stays(wire(2, '[DONE]')))
      const main = `import { read } from './read.mjs'
        for await (const { data } of read(process.argv[2])) {
          console.log(data)
          if (data === '[DONE]') break
        }`
      const files = { 'read.mjs': blockWith('README.md', 'EventSourceParserStream()'), 'main.mjs': main }
      await using reader = await runInFolder(files, 'main.mjs', [upstream.url])
      expect((await reader.program.ended).out).to.equal('a\n[DONE]\n')
      const ids = upstream.requests.map(({ headers }) => headers['last-event-id'])
      expect(ids).to.deep.equal(['', '1', '1'])
    })

    for (const [status, out, error] of [
      [204, '', ''],
      [404, '', 'refused: 404'],
    ] as const) {
      it(`is no longer read with fetch after a ${status}`, async () => {
        await using upstream = await serve((_, res) => void res.writeHead(status).end())
        const main = `import { read } from './read.mjs'
          for await (const { data } of read(process.argv[2])) console.log(data)`
        const files = { 'read.mjs': blockWith('README.md', 'EventSourceParserStream()'), 'main.mjs': main }
        await using reader = await runInFolder(files, 'main.mjs', [upstream.url])
        const ended = await reader.program.ended
        expect(ended.out).to.equal(out)
        expect(ended.err).to.include(error)
        expect(upstream.requests).to.have.length(1)
      })
    }
  })

  it('shares a feed: one upstream connection for all clients', async () => {
    await using upstream = await serve(stays(wire(1)))
    const code = blockWith('README.md', "'prices', prices")
    await using server = await servePage(code, { 'http://localhost:3000': new URL(upstream.url).origin })
    using first = ask(server.url, eventSource)
    await has(first, 'event 1')
    using second = ask(server.url, { ...eventSource, 'last-event-id': '0' })
    await has(second, 'id: ')
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/prices'])
  })

  it('keeps a session: a job is started once for each path, and goes on without a client', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: a\n\n')
      send = (text) => void res.end(text)
    })
    const code = blockWith('README.md', 'job:')
    await using server = await servePage(code, { 'http://localhost:3000': new URL(upstream.url).origin })
    const first = ask(`${server.url}/1`, eventSource)
    await has(first, 'data: a\n\n')
    first.leave()
    await until(
      () => first.over !== undefined,
      () => 'the first client has left',
    )
    send('data: b\n\n')
    const again = await answerOf(`${server.url}/1`, eventSource)
    expect(dataIn(again)).to.deep.equal(['a', 'b'])
    expect(upstream.requests.map(({ method, url }) => `${method} ${url}`)).to.deep.equal(['POST /job'])
  })
})
