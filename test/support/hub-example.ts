import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { answerOf, ask, has } from './client.ts'
import { serveCompletion, words } from './completion.ts'
import { wire } from './events.ts'
import type { Example } from './example.ts'
import { dataIn, eventSource, idOf } from './hub.ts'
import { serve, stream } from './server.ts'

/** Starts an example with the addresses of its upstreams. */
type Start = (env: { readonly UPSTREAM: string; readonly MODEL: string }) => Promise<Example>

/** Tests of an example with `/feed` and `/answers/…`, whatever its framework. */
export function testsOfHubExample(start: Start): void {
  it('shares one upstream, and gives a client that returns what it has missed', async () => {
    let response: ServerResponse | undefined
    await using upstream = await serve((_, opened) => {
      response = stream(opened, wire(1))
    })
    await using example = await start({ UPSTREAM: upstream.url, MODEL: upstream.url })
    const url = `${example.url}/feed`
    using first = ask(url, eventSource)
    await has(first, 'event 1')
    const second = ask(url, eventSource)
    // Its place in the stream: events from here on are sent to it.
    await has(second, 'id: ')
    response?.write(wire(2))
    for (const client of [first, second]) await has(client, 'event 2')
    second.leave()
    response?.write(wire(3))
    await has(first, 'event 3')
    using returned = ask(url, { ...eventSource, 'last-event-id': idOf(second, 'event 2') })
    await has(returned, 'event 3')
    expect(dataIn(first)).to.deep.equal(['event 1', 'event 2', 'event 3'])
    expect(dataIn(returned)).to.deep.equal(['event 3'])
    expect(upstream.requests).to.have.length(1)
  })

  it('reads an answer on while its client is away, and asks the model once', async () => {
    await using completion = await serveCompletion()
    await using example = await start({ UPSTREAM: completion.url, MODEL: completion.url })
    const url = `${example.url}/answers/one`
    expect((await answerOf(url)).status).to.equal(404)
    const headers = { 'content-type': 'application/json' }
    const asked = await fetch(url, { method: 'POST', headers, body: '{"stream":true}' })
    expect(asked.status).to.equal(202)
    completion.say(...words(1, 2))
    const first = ask(url, eventSource)
    await has(first, 'word2')
    first.leave()
    completion.say(...words(3, 4))
    completion.finish()
    const second = await answerOf(url)
    for (const word of words(1, 4)) expect(second.text).to.include(word)
    expect(second.text).to.include('[DONE]')
    expect(completion.requests).to.equal(1)
  })
}
