import { expect } from 'chai'
import { answerOf, ask, get, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, idOf, serveHub } from '../support/hub.ts'
import { answers, serve, serveInTurn, stays, stream } from '../support/server.ts'

const fiveEvents = stays(...[1, 2, 3, 4, 5].map((n) => wire(n)))

describe('the last event ID of a client of a shared feed', () => {
  /** A feed that has sent five events and keeps two of them, and a client that got all of them. */
  async function trimmed(onGap?: 'continue' | 'refuse') {
    let send = (_: string) => {}
    const upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1))
    })
    const feed = await serveHub(upstream.url, { retention: { events: 2 }, statusEvents: true, onGap })
    const first = ask(feed.url)
    // One by one: events that arrive together are kept together.
    for (let n = 2; n <= 5; n++) {
      await has(first, `event ${n - 1}`)
      send(wire(n))
    }
    await has(first, 'event 5')
    const close = async () => {
      first.leave()
      await feed[Symbol.asyncDispose]()
      await upstream.close()
    }
    return { feed, first, [Symbol.asyncDispose]: close }
  }

  it('is too old: the client gets a gap, and the oldest events that are kept', async () => {
    await using log = await trimmed()
    using late = ask(log.feed.url, { 'last-event-id': idOf(log.first, 'event 1') })
    await has(late, 'event 5')
    expect(dataIn(late)).to.deep.equal(['{"status":"gap"}', 'event 4', 'event 5'])
  })

  it('is too old: the client gets 410 with onGap refuse', async () => {
    await using log = await trimmed('refuse')
    const lastEventId = { 'last-event-id': idOf(log.first, 'event 1') }
    expect(await answerOf(log.feed.url, lastEventId)).to.include({ status: 410 })
    expect(await answerOf(log.feed.url, { ...eventSource, ...lastEventId })).to.include({ status: 410 })
  })

  it('is too old: an EventSource gets the gap before the id of its new place', async () => {
    await using log = await trimmed()
    using late = ask(log.feed.url, { ...eventSource, 'last-event-id': idOf(log.first, 'event 1') })
    await has(late, 'event 5')
    expect(late.text).to.match(/^event: relay-status\ndata: {"status":"gap"}\n\nid: \d+-3\n\nid: /)
  })

  it('is followed by the oldest kept event: no event is missing', async () => {
    await using log = await trimmed()
    using late = ask(log.feed.url, { 'last-event-id': idOf(log.first, 'event 3') })
    await has(late, 'event 5')
    expect(dataIn(late)).to.deep.equal(['event 4', 'event 5'])
  })

  const looksLikeOurs = (id: string) => [
    id.replace(/\d+$/, '999'),
    id.replace(/\d+$/, '9007199254740991'),
    id.replace(/\d+$/, '99999999999999999999'),
    id.replace(/^\d/, '9'),
    id.replace('-', '--'),
    id.replace('-', '-0'),
    id.replace('-', ' - '),
    `+${id}`,
    `0${id}`,
    '1-1',
    '0-0',
    '-1',
    'event 1',
    '%00',
  ]

  it('looks like one of the hub and is none: the client gets a gap, and never an event of another place', async () => {
    await using upstream = await serve(fiveEvents)
    await using feed = await serveHub(upstream.url, { statusEvents: true })
    using first = ask(feed.url)
    await has(first, 'event 5')
    const ours = idOf(first, 'event 3').replace(/\/.*$/, '')
    for (const id of looksLikeOurs(ours)) {
      using client = ask(feed.url, { 'last-event-id': id })
      await has(client, 'event 5')
      expect(dataIn(client), id).to.deep.equal([
        '{"status":"gap"}',
        ...[1, 2, 3, 4, 5].map((n) => `event ${n}`),
      ])
    }
    expect(upstream.requests).to.have.length(1)
  })

  it('is of another stream: it means nothing', async () => {
    await using upstream = await serve(fiveEvents)
    await using feed = await serveHub(upstream.url, { statusEvents: true })
    using one = ask(`${feed.url}?one`)
    await has(one, 'event 5')
    using two = ask(`${feed.url}?two`)
    await has(two, 'event 5')
    using mixed = ask(`${feed.url}?two`, { 'last-event-id': idOf(one, 'event 3') })
    await has(mixed, 'event 5')
    expect(dataIn(mixed)[0]).to.equal('{"status":"gap"}')
  })

  it("resumes the upstream from the upstream's own place when the log is lost", async () => {
    await using upstream = await serve(stays(wire('a/b', 'event 1')))
    await using before = await serveHub(upstream.url)
    using client = ask(before.url)
    await has(client, 'event 1')
    const id = idOf(client, 'event 1')
    expect(id).to.match(/^\d+-1\/a\/b$/)
    await using after = await serveHub(upstream.url, { statusEvents: true })
    using returned = ask(after.url, { 'last-event-id': id })
    using same = ask(after.url, { 'last-event-id': id })
    await has(returned, 'event 1')
    await has(same, 'event 1')
    expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([undefined, 'a/b'])
    expect(dataIn(returned)).to.deep.equal(['event 1'])
    expect(dataIn(same)).to.deep.equal(['event 1'])
    // Nobody knows what came between another place and this log.
    using other = ask(after.url, { 'last-event-id': id.replace('-1/', '-2/') })
    await has(other, 'event 1')
    expect(dataIn(other)).to.deep.equal(['{"status":"gap"}', 'event 1'])
  })

  it('has no place of the upstream, and the log is lost: the client gets a gap', async () => {
    await using upstream = await serve(stays('data: event 1\n\n'))
    await using before = await serveHub(upstream.url)
    using client = ask(before.url)
    await has(client, 'event 1')
    await using after = await serveHub(upstream.url, { statusEvents: true })
    using returned = ask(after.url, { 'last-event-id': idOf(client, 'event 1') })
    await has(returned, 'event 1')
    expect(dataIn(returned)).to.deep.equal(['{"status":"gap"}', 'event 1'])
  })

  it("is the upstream's own while the log is empty, and a gap otherwise", async () => {
    await using upstream = await serve(stays(wire(8)))
    await using feed = await serveHub(upstream.url, { statusEvents: true })
    using first = ask(feed.url, { 'last-event-id': '7' })
    await has(first, 'event 8')
    expect(upstream.requests[0]?.headers['last-event-id']).to.equal('7')
    expect(dataIn(first)).to.deep.equal(['event 8'])
    using second = ask(feed.url, { 'last-event-id': '6' })
    await has(second, 'event 8')
    expect(dataIn(second)).to.deep.equal(['{"status":"gap"}', 'event 8'])
  })

  it('holds the place that the option cursor gives', async () => {
    await using upstream = await serve(stays('data: 1\n\ndata: 2\n\n'))
    const cursor = ({ data = '' }) => `after-${data}`
    await using feed = await serveHub(upstream.url, { cursor })
    using first = ask(feed.url)
    await has(first, 'data: 2')
    expect(idOf(first, '2')).to.match(/^\d+-2\/after-2$/)
    await using after = await serveHub(({ cursor: from }) => fetch(`${upstream.url}?from=${from}`), {
      cursor,
    })
    using returned = ask(after.url, { 'last-event-id': idOf(first, '2') })
    await has(returned, 'data: 2')
    expect(upstream.requests.map(({ url }) => url)).to.deep.equal(['/events', '/events?from=after-2'])
  })
})

describe('a shared feed whose upstream fails', () => {
  it('answers a permanent refusal to every client that waits, and asks again for a later client', async () => {
    await using upstream = await serveInTurn(answers(404), stays(wire(1)))
    await using feed = await serveHub(upstream.url, { hub: { poll: 10 } })
    const refused = await Promise.all([answerOf(feed.url), answerOf(feed.url, eventSource)])
    for (const { status } of refused) expect(status).to.equal(404)
    expect(upstream.requests).to.have.length(1)
    for (;;) {
      using client = await get(feed.url)
      if (client.status === 404) continue
      await has(client, 'event 1')
      break
    }
  })

  it('answers a client that waits with the first failure, while the others wait for a retry', async () => {
    await using upstream = await serveInTurn(answers(503, { 'retry-after': '1' }), stays(wire(1)))
    await using feed = await serveHub(upstream.url, { headTimeout: 500 })
    using patient = ask(feed.url, eventSource)
    const program = await answerOf(feed.url, { accept: 'application/json' })
    expect(program.status).to.equal(503)
    expect(program.headers['retry-after']).to.equal('1')
    await has(patient, 'event 1')
    expect(patient.status).to.equal(200)
    expect(upstream.requests).to.have.length(2)
  })

  it('tells an EventSource to come back when the retries are used up, and opens the upstream again for it', async () => {
    await using upstream = await serveInTurn(answers(503), answers(503), stays(wire(1)))
    const reconnect = { baseDelay: 1, minDelay: 1, maxRetries: 1 }
    await using feed = await serveHub(upstream.url, { reconnect, hub: { poll: 10 } })
    const first = await answerOf(feed.url, eventSource)
    expect(first.status).to.equal(200)
    expect(first.text).to.match(/^retry: \d+\n$/)
    for (;;) {
      using client = await get(feed.url, eventSource)
      if (client.headers['content-type'] && client.over === undefined) {
        await has(client, 'event 1')
        break
      }
    }
  })

  it('breaks the connections when the retries are used up after an event, and goes on from there later', async () => {
    await using upstream = await serve((request, response) => {
      if (upstream.requests.length === 1) {
        stream(response, wire(1)).write(wire(2), () => request.socket.resetAndDestroy())
      } else if (upstream.requests.length < 4) response.writeHead(503).end()
      else stream(response, wire(3))
    })
    const reconnect = { baseDelay: 1, minDelay: 1, maxRetries: 2 }
    await using feed = await serveHub(upstream.url, { reconnect })
    const client = await answerOf(feed.url, eventSource)
    expect(client.over).to.equal('broken')
    expect(dataIn(client)).to.deep.equal(['event 1', 'event 2'])
    using again = ask(feed.url, { ...eventSource, 'last-event-id': idOf(client, 'event 1') })
    await has(again, 'event 3')
    expect(dataIn(again)).to.deep.equal(['event 2', 'event 3'])
    expect(upstream.requests.at(-1)?.headers['last-event-id']).to.equal('2')
  })

  it('refuses an answer that is not an event stream', async () => {
    await using upstream = await serve(answers(200, { 'content-type': 'text/html' }, '<p>no</p>'))
    await using feed = await serveHub(upstream.url)
    expect(await answerOf(feed.url, eventSource)).to.include({ status: 502 })
  })
})
