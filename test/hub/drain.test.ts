import { expect } from 'chai'
import { createDrain } from '../../src/index.ts'
import { ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, serveHub } from '../support/hub.ts'
import { serve, stream } from '../support/server.ts'

describe('a drain of a shared stream', () => {
  it('tells the clients to come back where the stream can be resumed, and lets other streams run to their end', async () => {
    const ends: (() => void)[] = []
    await using upstream = await serve((_, response) => {
      stream(response, wire(1))
      ends.push(() => response.end(wire(2)))
    })
    const drain = createDrain()
    await using feed = await serveHub(upstream.url, { drain })
    await using session = await serveHub(upstream.url, { drain, resume: 'before-first-event' })
    using dismissed = ask(feed.url)
    await has(dismissed, 'event 1')
    using kept = ask(session.url)
    await has(kept, 'event 1')
    const drained = drain.start({ spread: 0 })
    expect(await dismissed.ended).to.equal('end')
    expect(dismissed.text).to.match(/\nretry: 1000\n$/)
    expect(drain).to.include({ dismissed: 1, size: 1 })
    ends[1]?.()
    expect(await kept.ended).to.equal('end')
    expect(dataIn(kept)).to.deep.equal(['event 1', 'event 2'])
    await drained
  })
})
