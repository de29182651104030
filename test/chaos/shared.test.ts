import { expect } from 'chai'
import { memoryStore } from '../../src/index.ts'
import { createRandom } from '../support/flaky-upstream.ts'
import { FaultyStore } from './faulty-store.ts'
import { StoredLog } from './shared-check.ts'
import type { Step } from './shared-client.ts'
import { sharedPlanOf, sharedScenarioOf, sharedWays } from './shared-plan.ts'

/** Events at the positions 1 to 5. */
const stored = [1, 2, 3, 4, 5].map((n) => ({ id: `7-${n}/${n}`, event: undefined, data: `event ${n}` }))
const log = new StoredLog(stored)

const visit: Step = { what: 'visit' }
const gap: Step = { what: 'gap' }
const end: Step = { what: 'end' }
const idOnly = (id: string): Step => ({ what: 'id', id })

function events(...numbers: number[]): Step[] {
  return numbers.flatMap((n): Step[] => [
    { what: 'id', id: `7-${n}/${n}` },
    { what: 'event', id: `7-${n}/${n}`, event: undefined, data: `event ${n}` },
  ])
}

/** What is wrong with the steps of a client. */
function wrongIn(steps: readonly Step[], { fromStart = true, mayTrim = false } = {}) {
  const { lost, twice, damaged } = log.compare(steps, fromStart, mayTrim)
  return { lost, twice, damaged }
}

const nothing = { lost: 0, twice: 0, damaged: 0 }

describe('the checks of the ways through hubs', () => {
  it('accept all events from the start, or from any place of a client that starts live', () => {
    expect(wrongIn([visit, ...events(1, 2), visit, ...events(3, 4, 5), end])).to.deep.equal(nothing)
    expect(wrongIn([visit, ...events(3, 4, 5), end], { fromStart: false })).to.deep.equal(nothing)
    expect(
      wrongIn([visit, idOnly('7-2/2'), visit, ...events(3, 4, 5), end], { fromStart: false }),
    ).to.deep.equal(nothing)
    expect(log.compare(events(1, 2), true, false).delivered).to.equal(2)
  })

  it('detect missing events: at the start, between others, after the id of a place, and at the end', () => {
    expect(wrongIn(events(3, 4))).to.include({ lost: 2 })
    expect(wrongIn(events(1, 4))).to.include({ lost: 2 })
    expect(wrongIn([idOnly('7-2/2'), ...events(4)], { fromStart: false })).to.include({ lost: 1 })
    expect(wrongIn([...events(1, 2), end])).to.include({ lost: 3 })
  })

  it('accept missing events at a gap, if the log does not keep all events', () => {
    const steps = [...events(1), gap, ...events(4, 5), end]
    expect(wrongIn(steps, { mayTrim: true })).to.deep.equal(nothing)
    expect(wrongIn(steps)).to.include({ lost: 2 })
    expect(wrongIn([...events(1), gap, ...events(2, 5)], { mayTrim: true })).to.include({ lost: 2 })
  })

  it('detect repeats, other events, and places that move back', () => {
    expect(wrongIn(events(1, 2, 2, 3))).to.include({ twice: 1 })
    expect(wrongIn(events(1, 6))).to.include({ damaged: 1 })
    const [id, event] = events(1)
    const changed: Step[] = id && event?.what === 'event' ? [id, { ...event, data: 'other' }] : []
    expect(wrongIn(changed)).to.include({ damaged: 1 })
    expect(wrongIn([...events(1, 2, 3), idOnly('7-1/1')])).to.include({ damaged: 1 })
  })
})

describe('the plans of the ways through hubs', () => {
  const plans = sharedWays.flatMap((way) =>
    Array.from({ length: 60 }, (_, seed) => sharedPlanOf(way, sharedScenarioOf(way, seed))),
  )

  it('are always the same for the same seed', () => {
    const described = () => {
      const { random: _, clients, ...plan } = sharedPlanOf('fleet', sharedScenarioOf('fleet', 5))
      return { ...plan, clients: clients.map((client) => ({ ...client, random: undefined })) }
    }
    expect(described()).to.deep.equal(described())
  })

  it('have every kind of client, and closes, pauses, cancels, faults of the store and trimmed logs', () => {
    const kinds = new Set(plans.flatMap(({ clients }) => clients.map(({ kind }) => kind)))
    expect(kinds.size).to.equal(8)
    for (const has of [
      plans.some(({ replacements }) => replacements.length > 0),
      plans.some(({ pauses }) => pauses.length > 0),
      plans.some(({ cancelAt }) => cancelAt !== undefined),
      plans.some(({ storeFaults }) => storeFaults > 0),
      plans.some(({ retention }) => retention !== undefined),
    ]) {
      expect(has).to.equal(true)
    }
  })
})

describe('a faulty store', () => {
  it('loses calls, and answers of calls that were carried out', async () => {
    const whole = memoryStore()
    const faulty = new FaultyStore(whole, createRandom(1), 0.9)
    const failures = new Set<string>()
    for (let n = 0; n < 30; n++) {
      const options = { lease: 60_000, keepFor: 0 }
      await faulty.open(`stream ${n}`, 'owner', options).catch(({ message }: Error) => failures.add(message))
    }
    expect([...failures].sort()).to.deep.equal(['the answer was lost', 'the call was lost'])
  })

  it('carries out calls of a pause after the pause', async () => {
    const whole = memoryStore()
    const faulty = new FaultyStore(whole, createRandom(1), 0)
    faulty.pause(5)
    const opening = faulty.open('stream', 'owner', { lease: 60_000, keepFor: 0 })
    expect(await whole.read('stream', 'first', 1)).to.deep.equal([])
    await opening
    expect(await whole.read('stream', 'first', 1)).to.have.length(1)
  })
})
