import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { createSseHub, httpUpstream, type SharedStreamOptions, SseError } from '../../src/index.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { lastIs } from '../support/events.ts'
import { dataIn, eventSource, idOf, serveHub } from '../support/hub.ts'
import { answers, isLeft, serve, stream, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const session: SharedStreamOptions = {
  linger: Number.POSITIVE_INFINITY,
  from: 'start',
  resume: 'before-first-event',
  isTerminal: lastIs('[DONE]'),
}
const token = (n: number) => `data: token ${n}\n\n`
const done = 'data: [DONE]\n\n'
const tokens = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `token ${from + n}`)

/** A completion without ids, whose tokens the test sends. */
interface Completion extends AsyncDisposable {
  readonly server: TestServer
  readonly upstream: ReturnType<typeof httpUpstream>
  /** The number of requests. */
  readonly requests: readonly IncomingMessage[]
  send(text: string): void
  end(): void
  reset(): void
}

async function complete(...first: string[]): Promise<Completion> {
  let response: ServerResponse | undefined
  let isOver = false
  const server = await serve((_, answer) => {
    response = stream(answer, ...first)
    if (isOver) response.end(done)
  })
  return {
    server,
    requests: server.requests,
    upstream: httpUpstream(server.url, { method: 'POST', body: '{"stream":true}' }),
    send: (text) => void response?.write(text),
    end() {
      // The request may not have arrived yet.
      isOver = true
      response?.end(done)
    },
    reset: () => void response?.socket?.resetAndDestroy(),
    [Symbol.asyncDispose]: server.close,
  }
}

describe('a session', () => {
  it('goes on while its client is away: the client comes back by its id, and has the whole answer once', async () => {
    await using completion = await complete(...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(token))
    await using gateway = await serveHub(completion.upstream, session)
    const tab = ask(gateway.url, eventSource)
    await has(tab, 'token 10\n\n')
    tab.leave()
    await until(
      () => gateway.summaries.length === 1,
      () => 'the tab is closed',
    )
    for (let n = 11; n <= 20; n++) completion.send(token(n))
    completion.end()
    await isLeft(completion.server)
    const again = await answerOf(gateway.url, { ...eventSource, 'last-event-id': idOf(tab, 'token 10') })
    expect(again).to.include({ status: 200, over: 'end' })
    expect([...dataIn(tab), ...dataIn(again)]).to.deep.equal([...tokens(1, 20), '[DONE]'])
    const last = { ...eventSource, 'last-event-id': idOf(again, '\\[DONE\\]') }
    expect(await answerOf(gateway.url, last)).to.include({ status: 204 })
    expect(completion.requests).to.have.length(1)
  })

  it('gives a client that returns in the middle the rest while it arrives', async () => {
    await using completion = await complete(token(1), token(2))
    await using gateway = await serveHub(completion.upstream, session)
    const tab = ask(gateway.url, eventSource)
    await has(tab, 'token 2')
    tab.leave()
    using reloaded = ask(gateway.url, eventSource)
    using returned = ask(gateway.url, { 'last-event-id': idOf(tab, 'token 1') })
    await has(returned, 'token 2')
    completion.send(token(3))
    completion.end()
    expect(await reloaded.ended).to.equal('end')
    expect(await returned.ended).to.equal('end')
    expect(dataIn(reloaded)).to.deep.equal([...tokens(1, 3), '[DONE]'])
    expect(dataIn(returned)).to.deep.equal([...tokens(2, 3), '[DONE]'])
    expect(completion.requests).to.have.length(1)
  })

  it('asks the upstream once for any number of tabs and submits', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, session)
    const tabs = Array.from({ length: 5 }, () => ask(gateway.url, eventSource))
    const started = await Promise.all(
      [1, 2, 3].map(() => gateway.hub.start('/events', completion.upstream, session)),
    )
    expect(started.map(({ state }) => state)).to.deep.equal(['running', 'running', 'running'])
    for (const tab of tabs) await has(tab, 'token 1')
    completion.end()
    for (const tab of tabs) {
      expect(await tab.ended).to.equal('end')
      expect(dataIn(tab)).to.deep.equal(['token 1', '[DONE]'])
    }
    // The stream has ended: a further submit under the same name joins what is stored.
    expect(await gateway.hub.start('/events', completion.upstream, session)).to.include({ state: 'ended' })
    expect(dataIn(await answerOf(gateway.url))).to.deep.equal(['token 1', '[DONE]'])
    expect(completion.requests).to.have.length(1)
  })

  it('starts without a client, and is read later', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, { ...session, opens: false })
    expect(await gateway.hub.status('/events')).to.equal(undefined)
    await gateway.hub.start('/events', completion.upstream, session)
    completion.end()
    expect(dataIn(await answerOf(gateway.url))).to.deep.equal(['token 1', '[DONE]'])
  })

  it('is cancelled from another request: the upstream is closed, and every client gets the end', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, session)
    const tabs = [ask(gateway.url), ask(gateway.url, eventSource)]
    for (const tab of tabs) await has(tab, 'token 1')
    const closed = once(completion.requests[0]?.socket ?? completion.server.server, 'close')
    expect(await gateway.hub.cancel('/events', 'the user has pressed stop')).to.equal(true)
    await closed
    for (const tab of tabs) expect(await tab.ended).to.equal('end')
    await until(
      () => gateway.summaries.length === 2,
      () => 'both relays end',
    )
    for (const { outcome } of gateway.summaries) expect(outcome).to.equal('cancelled')
    expect(await gateway.hub.status('/events')).to.include({ state: 'cancelled', clients: 0, isOwner: false })
    // A reload after the stop must not start the answer anew.
    const last = { ...eventSource, 'last-event-id': idOf(tabs[1] ?? tabs[0] ?? { text: '' }, 'token 1') }
    expect(await answerOf(gateway.url, last)).to.include({ status: 204 })
    expect(dataIn(await answerOf(gateway.url, eventSource))).to.deep.equal(['token 1'])
    expect(await gateway.hub.cancel('/events')).to.equal(false)
    expect(await gateway.hub.cancel('/nothing')).to.equal(false)
    expect(completion.requests).to.have.length(1)
  })

  it('has whole events only, whether they are parsed or not: a drop cuts none in two', async () => {
    for (const isTerminal of [undefined, session.isTerminal]) {
      await using completion = await complete(`: hello\nid: a\n${token(1)}`, 'data: half an ev')
      const { isTerminal: _, ...unparsed } = session
      await using gateway = await serveHub(completion.upstream, {
        ...unparsed,
        ...(isTerminal && { isTerminal }),
      })
      const tab = ask(gateway.url)
      await has(tab, 'token 1')
      completion.send('ent\n\ndata: the next ha')
      await has(tab, 'half an event')
      completion.reset()
      expect(await tab.ended).to.equal('broken')
      expect(tab.text.replace(/^id: \d+-/gm, 'id: ')).to.equal(
        'id: 1/a\ndata: token 1\n\nid: 2/a\ndata: half an event\n\n',
      )
    }
  })

  it('shows every client a drop of the upstream after the first event, and never asks again', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, session)
    const tab = ask(gateway.url, eventSource)
    const other = ask(gateway.url)
    await has(tab, 'token 1')
    await has(other, 'token 1')
    completion.reset()
    expect(await tab.ended).to.equal('broken')
    expect(await other.ended).to.equal('broken')
    expect(await gateway.hub.status('/events')).to.include({ state: 'failed' })
    // Who comes back gets what is stored, and then the failure again.
    const again = await answerOf(gateway.url, eventSource)
    expect(again.over).to.equal('broken')
    expect(dataIn(again)).to.deep.equal(['token 1'])
    expect(completion.requests).to.have.length(1)
    const { error } = gateway.summaries.at(-1) ?? {}
    expect(error).to.be.instanceOf(SseError)
    expect(error).to.include({ code: 'ERR_SSE_NOT_RESUMABLE' })
  })

  it('sends the errorEvent of each client in place of a broken connection', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, {
      ...session,
      errorEvent: () => ({ event: 'error', data: 'sorry' }),
    })
    const tab = ask(gateway.url)
    await has(tab, 'token 1')
    completion.reset()
    expect(await tab.ended).to.equal('end')
    expect(dataIn(tab)).to.deep.equal(['token 1', 'sorry'])
  })

  it('answers 410 to an id of a session that is no longer kept, and asks the upstream for nothing', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, session)
    const gone = await answerOf(gateway.url, { ...eventSource, 'last-event-id': '1795710055795-3' })
    expect(gone).to.include({ status: 410 })
    expect(completion.requests).to.have.length(0)
  })

  it('answers 410 to an id that its log does not have, and to a new client when the start is no longer kept', async () => {
    await using completion = await complete(token(1), token(2), token(3))
    await using gateway = await serveHub(completion.upstream, { ...session, retention: { events: 1 } })
    using tab = ask(gateway.url)
    await has(tab, 'token 3')
    completion.send(token(4))
    await has(tab, 'token 4')
    for (const id of ['1795710055795-3', 'abc', idOf(tab, 'token 1').replace(/1$/, '9')]) {
      expect(await answerOf(gateway.url, { 'last-event-id': id }), id).to.include({ status: 410 })
    }
    expect(await answerOf(gateway.url)).to.include({ status: 410 })
    await using lenient = await serveHub(completion.upstream, {
      ...session,
      retention: { events: 1 },
      onGap: 'continue',
      statusEvents: true,
    })
    using opener = ask(lenient.url)
    await has(opener, 'token 3')
    completion.send(token(4))
    await has(opener, 'token 4')
    using late = ask(lenient.url)
    await has(late, 'token 4')
    expect(dataIn(late)).to.deep.equal(['{"status":"gap"}', 'token 4'])
  })

  it('passes the refusal of the upstream on to all clients that wait for it', async () => {
    await using upstream = await serve(answers(401, { 'www-authenticate': 'Bearer' }, 'secret'))
    const factory = httpUpstream(upstream.url, { method: 'POST', body: '{}' })
    await using gateway = await serveHub(factory, session)
    const refused = await Promise.all([1, 2, 3].map(() => answerOf(gateway.url, eventSource)))
    for (const answer of refused) {
      expect(answer.status).to.equal(401)
      expect(answer.headers['www-authenticate']).to.equal('Bearer')
      expect(answer.text).to.not.include('secret')
    }
    expect(upstream.requests).to.have.length(1)
  })

  it('lets its clients read to the end when the hub closes, within the drain time', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, session)
    const tab = ask(gateway.url, eventSource)
    await has(tab, 'token 1')
    const closed = gateway.hub.close({ drain: 60_000 })
    const late = await answerOf(gateway.url, { accept: 'application/json' })
    expect(late).to.include({ status: 503 })
    expect(late.headers['retry-after']).to.equal('1')
    completion.end()
    expect(await tab.ended).to.equal('end')
    await closed
    expect(dataIn(tab)).to.deep.equal(['token 1', '[DONE]'])
  })

  it('is broken off when the hub closes and the drain time is over', async () => {
    await using completion = await complete(token(1))
    await using gateway = await serveHub(completion.upstream, session)
    const tab = ask(gateway.url, eventSource)
    await has(tab, 'token 1')
    await gateway.hub.close()
    expect(await tab.ended).to.equal('broken')
    await isLeft(completion.server)
  })

  it('needs no client at the end: the process holds nothing of it after keepFor', async () => {
    await using completion = await complete(token(1))
    const hub = createSseHub()
    await hub.start('answer', completion.upstream, { ...session, keepFor: 1 })
    completion.end()
    // No event says that a log has expired.
    while (await hub.status('answer')) await sleep(5)
    await hub.close()
    expect(completion.requests).to.have.length(1)
  })
})
