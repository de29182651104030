import { expect } from 'chai'
import type { RetryContext } from '../../src/index.ts'
import { answerOf, ask, type Client, get, has } from '../support/client.ts'
import { fast, wire } from '../support/events.ts'
import { numbered } from '../support/feed.ts'
import { dataIn, eventSource, idOf, serveHub } from '../support/hub.ts'
import { answers, ends, isLeft, resets, serve, serveInTurn, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

describe('a shared feed', () => {
  it('has one upstream connection for a thousand clients, and each gets every event once', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      stream(response)
      send = (text) => void response.write(text)
    })
    await using feed = await serveHub(upstream.url)
    const clients = Array.from({ length: 1000 }, () => ask(feed.url))
    const all = (isTrue: (client: Client) => boolean) =>
      until(
        () => clients.every(isTrue),
        () => 'all clients',
        60_000,
      )
    await all(({ status }) => status === 200)
    for (let n = 1; n <= 5; n++) send(wire(n))
    await all(({ text }) => text.includes('event 5'))
    expect(upstream.requests).to.have.length(1)
    for (const client of clients) expect(dataIn(client)).to.deep.equal(numbered(1, 5))
    for (const client of clients) client.leave()
  }).timeout(300_000)

  it('starts a late client at the latest event, or with from at the oldest that is kept', async () => {
    await using upstream = await serve(stays(wire(1), wire(2)))
    await using feed = await serveHub(upstream.url)
    using first = ask(feed.url)
    await has(first, 'event 2')
    using late = await get(feed.url, eventSource)
    await has(late, `id: ${idOf(first, 'event 2')}\n\n`)
    await using whole = await serveHub(upstream.url, { from: 'start' })
    using opener = ask(whole.url)
    await has(opener, 'event 2')
    using other = ask(whole.url)
    await has(other, 'event 2')
    expect(dataIn(other)).to.deep.equal(numbered(1, 2))
    expect(dataIn(late)).to.deep.equal([])
  })

  it('sends a client that returns what it has missed, and nothing twice', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1), wire(2), wire(3))
    })
    await using feed = await serveHub(upstream.url)
    const before = ask(feed.url)
    await has(before, 'event 3')
    before.leave()
    using after = ask(feed.url, { 'last-event-id': idOf(before, 'event 1') })
    await has(after, 'event 3')
    send(wire(4))
    await has(after, 'event 4')
    expect(dataIn(after)).to.deep.equal(numbered(2, 4))
    expect(upstream.requests).to.have.length(1)
  })

  const readings = { unread: {}, parsed: { isTerminal: () => false } }
  for (const [name, options] of Object.entries(readings)) {
    it(`sends each event once and in order while the upstream drops, resumes and repeats: events ${name}`, async () => {
      await using upstream = await serveInTurn(
        resets(wire(1), wire(2)),
        answers(503),
        ends(wire(1), wire(2), wire(3)),
        stays(wire(3), wire(4)),
      )
      await using feed = await serveHub(upstream.url, options)
      using first = ask(feed.url)
      using second = ask(feed.url, eventSource)
      await has(first, 'event 4')
      await has(second, 'event 4')
      for (const client of [first, second]) {
        expect(dataIn(client)).to.deep.equal(numbered(1, 4))
        expect(idOf(client, 'event 4')).to.match(/^\d+-4\/4$/)
      }
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([
        undefined,
        '2',
        '2',
        '3',
      ])
    })

    it(`drops the repeats of the latest events, as many as windowSize says: events ${name}`, async () => {
      await using upstream = await serveInTurn(resets(wire(1), wire(2)), stays(wire(2) + wire(1) + wire(3)))
      await using feed = await serveHub(upstream.url, { ...options, from: 'start', windowSize: 1 })
      using client = ask(feed.url)
      await has(client, 'event 3')
      expect(dataIn(client)).to.deep.equal(['event 1', 'event 2', 'event 1', 'event 3'])
    })

    it(`sends a thousand events of 1 kB once each when the upstream drops and repeats them: events ${name}`, async () => {
      const events = Array.from({ length: 1000 }, (_, n) => wire(n, `event ${n} ${'x'.repeat(970)}`))
      await using upstream = await serveInTurn(resets(...events), stays(...events, wire(1000)))
      await using feed = await serveHub(upstream.url, { ...options, from: 'start' })
      using first = ask(feed.url)
      using second = ask(feed.url, eventSource)
      for (const client of [first, second]) {
        await has(client, 'event 1000')
        expect(dataIn(client).map((data) => data.split(' ')[1])).to.deep.equal(
          Array.from({ length: 1001 }, (_, n) => `${n}`),
        )
      }
    })
  }

  it('closes the upstream when no client has listened for the linger time, and goes on for the next client', async () => {
    await using upstream = await serve((request, response) => {
      const after = Number(request.headers['last-event-id'] ?? 0)
      stream(response, wire(after + 1), wire(after + 2))
    })
    await using feed = await serveHub(upstream.url, { linger: 20 })
    const first = ask(feed.url)
    await has(first, 'event 2')
    first.leave()
    await isLeft(upstream)
    expect(await feed.hub.status('/events')).to.include({ state: 'running', isOwner: false, clients: 0 })
    using second = ask(feed.url, { 'last-event-id': idOf(first, 'event 1') })
    await has(second, 'event 4')
    expect(dataIn(second)).to.deep.equal(numbered(2, 4))
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([undefined, '2'])
  })

  it('retries a page of a load balancer also when the upstream was opened anew', async () => {
    const page = answers(200, { 'content-type': 'text/html' }, 'We will be back.')
    await using upstream = await serveInTurn(stays(wire(1)), page, stays(wire(2)))
    const asked: boolean[] = []
    const shouldRetry = (_: Error, { passedOn, retryable }: RetryContext) =>
      asked.push(passedOn) > 0 && retryable
    await using feed = await serveHub(upstream.url, { linger: 0, reconnect: { ...fast, shouldRetry } })
    const first = ask(feed.url)
    await has(first, 'event 1')
    first.leave()
    await isLeft(upstream)
    using second = ask(feed.url, { 'last-event-id': idOf(first, 'event 1') })
    await has(second, 'event 2')
    expect(asked).to.deep.equal([true])
  })

  it('ends with the rest of the stream for a client that missed events, and with 204 for one that has them all', async () => {
    await using upstream = await serveInTurn(ends(wire(1), wire(2), wire(3)), answers(204))
    await using feed = await serveHub(upstream.url)
    const whole = await answerOf(feed.url, eventSource)
    expect(whole).to.include({ status: 200, over: 'end' })
    expect(dataIn(whole)).to.deep.equal(numbered(1, 3))
    const rest = await answerOf(feed.url, { 'last-event-id': idOf(whole, 'event 1') })
    expect(rest).to.include({ status: 200, over: 'end' })
    expect(dataIn(rest)).to.deep.equal(numbered(2, 3))
    const done = await answerOf(feed.url, { ...eventSource, 'last-event-id': idOf(whole, 'event 3') })
    expect(done).to.include({ status: 204, text: '' })
    expect(await feed.hub.status('/events')).to.include({ state: 'ended' })
    expect(upstream.requests).to.have.length(2)
  })

  it('gives an id alone to an EventSource that has no place yet, and to no other client', async () => {
    await using upstream = await serve(stays())
    await using feed = await serveHub(upstream.url)
    using browser = await get(feed.url, eventSource)
    await has(browser, '\n\n')
    expect(browser.text).to.match(/^id: \d+-0\n\n$/)
    using program = await get(feed.url, { accept: 'text/event-stream' })
    await using asked = await serveHub(upstream.url, { joinId: true })
    using other = await get(asked.url)
    await has(other, '\n\n')
    expect(program.text).to.equal('')
    // The place of a quiet feed is as good as the id of an event.
    using again = await get(feed.url, { ...eventSource, 'last-event-id': browser.text.slice(4, -2) })
    using last = await get(feed.url, eventSource)
    await has(last, '\n\n')
    expect(again.text).to.equal('')
  })

  it('answers 404 without an upstream, and joins a stream that exists', async () => {
    await using upstream = await serve(stays(wire(1)))
    await using closed = await serveHub(upstream.url, { opens: false, from: 'start' })
    expect(await answerOf(closed.url)).to.include({ status: 404 })
    // A client with an id of the hub had a stream, which is no longer kept.
    expect(await answerOf(closed.url, { 'last-event-id': '1795710055795-3' })).to.include({ status: 410 })
    await closed.hub.start('/events', async ({ headers, signal }) => fetch(upstream.url, { headers, signal }))
    using client = ask(closed.url)
    await has(client, 'event 1')
  })
})
