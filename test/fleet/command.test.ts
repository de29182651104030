import { expect } from 'chai'
import { ask, quick, start } from '../support/command.ts'
import { wire } from '../support/events.ts'
import { publisher } from '../support/publisher.ts'
import { startRedis } from '../support/redis.ts'
import { eventually, wander } from './fleet.ts'

describe('two commands on one Redis', function () {
  this.timeout(300_000)

  it('go on with a stream when the command that has the upstream is killed: no gap, and nothing twice', async () => {
    await using redis = await startRedis()
    await using feed = await publisher(wire)
    const args = ['--upstream', feed.server.url, '--share', 'true', '--redis', redis.url, ...quick]
    await using owner = await start(args)
    await using other = await start(args)
    const host = { host: 'feed.test', accept: 'text/event-stream' }
    using first = ask(owner.url, 'GET', host)
    await eventually(
      () => feed.open.size === 1,
      () => 'the upstream',
    )
    using client = wander(other.url, undefined, { host: 'feed.test' })
    await client.placed()
    for (const n of [1, 2]) {
      feed.publish()
      await client.has(`event ${n}`)
    }
    owner.program.child.kill('SIGKILL')
    await eventually(
      () => first.over !== undefined,
      () => 'the end of the client of the killed command',
    )
    feed.publish()
    await client.has('event 3')
    expect(client.data).to.deep.equal(['event 1', 'event 2', 'event 3'])
    expect(client.statuses).to.deep.equal([200])
    expect(feed.server.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([
      undefined,
      '2',
    ])
  })
})
