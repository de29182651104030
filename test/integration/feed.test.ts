import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { answerOf, ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { startExample } from '../support/example.ts'
import { dataIn, eventSource, idOf } from '../support/hub.ts'
import { serve, stream } from '../support/server.ts'

const events = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `event ${from + n}`)

describe('examples/feed.ts', () => {
  it('opens one connection upstream for all clients, and a client that returns gets what it has missed', async () => {
    let response: ServerResponse | undefined
    await using upstream = await serve((_, opened) => {
      response = stream(opened, wire(1))
    })
    await using example = await startExample('feed.ts', upstream.url)
    const url = `${example.url}/events`
    using first = ask(url, eventSource)
    await has(first, 'event 1')
    const second = ask(url, eventSource)
    // Its place in the stream: events from here on are sent to it.
    await has(second, 'id: ')
    response?.write(wire(2))
    for (const client of [first, second]) await has(client, 'event 2')
    second.leave()
    response?.write(wire(3) + wire(4))
    await has(first, 'event 4')
    using returned = ask(url, { ...eventSource, 'last-event-id': idOf(second, 'event 2') })
    await has(returned, 'event 4')
    response?.write(wire(5))
    for (const client of [first, returned]) await has(client, 'event 5')
    expect(dataIn(first)).to.deep.equal(events(1, 5))
    expect([...dataIn(second), ...dataIn(returned)]).to.deep.equal(events(2, 5))
    expect(upstream.requests).to.have.length(1)
  })

  it('starts an upstream of its own, and serves a page', async () => {
    await using example = await startExample('feed.ts')
    const page = await answerOf(`${example.url}/`)
    expect(page.headers['content-type']).to.equal('text/html')
    expect(page.text).to.include("new EventSource('/events')")
    using client = ask(`${example.url}/events`, eventSource)
    await has(client, 'event 2')
    expect(dataIn(client)).to.deep.equal(events(1, 2))
  })
})
