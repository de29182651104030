import { expect } from 'chai'
import type { Entry, EventsEntry, OpenEntry } from '../../src/hub/store.ts'
import { runSeeds } from './model/batch.ts'
import { LeaseWatch } from './model/lease-watch.ts'
import { faultsInLog } from './model/log-check.ts'
import { faults, planOf } from './model/plan.ts'

const seeds = Array.from({ length: 10 }, (_, n) => n + 1)
const dataOf = (n: number) => `event ${n}`

/** An entry with one event of the upstream. */
const events = (epoch: number, seq: number, n: number): EventsEntry => ({
  kind: 'events',
  epoch,
  at: epoch,
  first: seq,
  last: seq,
  bytes: Buffer.from(`id: ${epoch}-${seq}/${n}\ndata: event ${n}\n\n`),
  cursor: String(n),
})
const open = (epoch: number, previous: OpenEntry['previous']): OpenEntry => ({
  kind: 'open',
  epoch,
  at: epoch,
  previous,
})
const whole: readonly Entry[] = [
  open(7, undefined),
  events(7, 1, 1),
  events(7, 2, 2),
  open(9, { epoch: 7, seq: 2 }),
  events(9, 1, 3),
]

describe('the checks of the model', () => {
  it('accept a log with two epochs', () => {
    expect(faultsInLog(whole, dataOf)).to.deep.equal([])
  })

  it('detect an epoch that goes on after a later one has begun', () => {
    const late = [...whole.slice(0, 4), events(7, 3, 3)]
    expect(faultsInLog(late, dataOf).join()).to.include('7-3 does not rise')
  })

  it('detect an epoch that does not know the last event of the epoch before it', () => {
    const early = [...whole.slice(0, 3), open(9, { epoch: 7, seq: 1 }), events(9, 1, 3)]
    expect(faultsInLog(early, dataOf)).to.deep.equal(['open 9-0 follows 7-2, and says 1'])
  })

  it('detect a missing position, and a missing, repeated or changed event', () => {
    expect(faultsInLog([...whole, events(9, 3, 4)], dataOf)).to.deep.equal([
      'the entry up to 9-3 follows 9-1',
    ])
    for (const n of [3, 5]) {
      const log = [...whole, events(9, 2, n)]
      expect(faultsInLog(log, dataOf)).to.deep.equal([
        `event 4 of the log is event ${n}, with the id 9-2/${n}`,
      ])
    }
  })

  describe('of the lease', () => {
    const set = (endsAt: number, owner: string, life = 1400) =>
      `1.5 [0 lua] "SET" "rs:{model}:lease" "${endsAt} 7 7-2 ${owner}" "PX" "${life}"`
    const released = '1.5 [0 lua] "DEL" "rs:{model}:lease"'
    const faultsAfter = (...lines: string[]) => {
      const watch = new LeaseWatch(1000)
      for (const line of lines) watch.note(line)
      return { faults: watch.faults.length, expired: watch.expired }
    }

    it('accept renewals, a lease that was given up, and one that has run out', () => {
      expect(faultsAfter(set(1400, 'one'), set(1500, 'one'))).to.deep.equal({ faults: 0, expired: 0 })
      expect(faultsAfter(set(1400, 'one'), released, set(1450, 'two'))).to.deep.equal({
        faults: 0,
        expired: 0,
      })
      expect(faultsAfter(set(1400, 'one'), set(1800, 'two'))).to.deep.equal({ faults: 0, expired: 1 })
    })

    it('detect a second owner during the lease of the first one', () => {
      expect(faultsAfter(set(1400, 'one'), set(1799, 'two'))).to.deep.equal({ faults: 1, expired: 1 })
    })

    it('detect a key that does not outlive its lease', () => {
      expect(faultsAfter(set(1400, 'one', 1000))).to.deep.equal({ faults: 1, expired: 0 })
    })
  })
})

describe('the plans of the model', () => {
  it('are always the same for the same seed', () => {
    const described = () => JSON.stringify(planOf(5))
    expect(described()).to.equal(described())
  })

  it('have every fault, cancels, suspensions of Redis, both packages and both kinds of streams', () => {
    const plans = Array.from({ length: 200 }, (_, n) => planOf(n + 1))
    const planned = new Set(plans.flatMap((plan) => plan.faults.map(({ fault }) => fault)))
    expect([...planned]).to.have.members([...faults])
    expect(new Set(plans.flatMap(({ packages }) => packages)).size).to.equal(2)
    expect(new Set(plans.map(({ kind }) => kind)).size).to.equal(2)
    expect(plans.some(({ cancel }) => cancel)).to.equal(true)
    expect(plans.some(({ pauses }) => pauses.length > 0)).to.equal(true)
  })
})

describe('a fleet whose machines, streams and network have faults at random', function () {
  this.timeout(300_000)

  it(`is whole: seeds ${seeds[0]} to ${seeds.at(-1)}`, async () => {
    const results = await runSeeds(seeds, 4)
    const broken = results.filter((result) => result.faults.length > 0)
    expect(broken.map(({ seed, faults: found, trace }) => ({ seed, found, trace }))).to.deep.equal([])
    expect(results).to.have.length(seeds.length)
  })
})
