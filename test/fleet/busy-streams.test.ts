import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { redisStore } from '../../src/redis.ts'
import { ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { numbered } from '../support/feed.ts'
import { dataIn, eventSource, serveHub } from '../support/hub.ts'
import { publisher } from '../support/publisher.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { packages } from './machines.ts'

const names = Array.from({ length: 30 }, (_, n) => `stream-${n}`)
const events = 200
/** No wake follows the last event of a burst. */
const burst = 5

/** A client for each stream of a machine. */
function clientsOf(url: string) {
  const all = names.map((name) => ask(`${url}/${name}`, eventSource))
  return {
    all,
    [Symbol.dispose]() {
      for (const client of all) client.leave()
    },
  }
}

for (const [name, connect] of Object.entries(packages)) {
  describe(`streams of another machine that have events all the time, through the package ${name}`, () => {
    it('are read by wakes alone: no client misses an event', async () => {
      await using upstream = await publisher(wire)
      await using redis = await startRedis()
      // No wake may be lost: a machine that is not woken would read again after ten minutes.
      const start = () =>
        serveHub(upstream.server.url, {
          hub: { store: redisStore(connect(redis.url)), poll: 600_000, lease: 60_000 },
          from: 'start',
        })
      await using owner = await start()
      await using follower = await start()
      using owned = clientsOf(owner.url)
      await until(
        () => upstream.open.size === names.length,
        () => 'every upstream is open',
      )
      upstream.publish()
      for (const client of owned.all) await has(client, 'event 1')
      using followed = clientsOf(follower.url)
      for (const client of followed.all) await has(client, 'event 1')
      for (let n = 2; n <= events; n++) {
        upstream.publish()
        // Reads, wakes and appends overlap in every order, and each event but the last of a burst is followed by another one.
        for (let turn = 0; turn < n % 7; turn++) await nextTurn()
        if (n % burst === 0) for (const client of followed.all) await has(client, `event ${n}\n`)
      }
      for (const client of [...owned.all, ...followed.all]) {
        await has(client, `event ${events}\n`)
        expect(dataIn(client)).to.deep.equal(numbered(1, events))
      }
      expect(upstream.server.requests).to.have.length(names.length)
    })
  })
}
