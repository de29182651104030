import http from 'node:http'
import type { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  createResilientSseSource,
  httpUpstream,
  type ResilientSseSource,
  type SourceOptions,
  type SseEvent,
} from '../../src/index.ts'
import { until } from '../support/until.ts'
import { ownWays, runBatch } from './batch.ts'
import { failureOf, Report } from './report.ts'
import { isWhole, type Result, run } from './run.ts'
import { scenarioOf } from './scenario.ts'
import { HostileUpstream } from './upstream.ts'
import { reconnect, sourceWay, timeouts } from './ways.ts'

/** A seed whose client never disconnects, and whose upstream sometimes repeats events. */
const seed = 13

/** Runs the seed through a source with wrong options, or with a stage that damages its events. */
async function runWrongly(
  options: SourceOptions,
  spoil: (source: ResilientSseSource<SseEvent>) => Readable = (source) => source,
): Promise<Result> {
  const upstream = await HostileUpstream.start(scenarioOf(seed))
  const agent = new http.Agent({ keepAlive: true })
  return run(upstream, async ({ url }) => ({
    async open(_, lastEventId) {
      return spoil(
        createResilientSseSource(httpUpstream(url, { agent }), {
          reconnect,
          ...timeouts,
          ...(lastEventId !== '' && { lastEventId }),
          ...options,
          objectMode: true,
        }),
      )
    },
    faults: [],
    async [Symbol.asyncDispose]() {
      agent.destroy()
    },
  }))
}

describe('chaos', () => {
  it('each way delivers every event once and in order, and closes every connection, with 8 seeds', async function () {
    this.timeout(600_000)
    const seeds = Array.from({ length: 8 }, (_, n) => n + 1)
    const report = new Report()
    const failures: string[] = []
    const proxyFaults = await runBatch(seeds, {
      ways: ownWays,
      atOnce: 12,
      onResult(way, result) {
        report.note(way, result)
        if (!isWhole(result)) failures.push(failureOf(way, result))
      },
    })
    expect([...failures, ...proxyFaults].join('\n')).to.equal('')
    expect(report.runs).to.equal(seeds.length * ownWays.length)
  })

  it('a seed always gives the same scenario', () => {
    const plan = (n: number) => {
      const { connection, ...scenario } = scenarioOf(n)
      return {
        ...scenario,
        connections: [0, 1, 7].map((each) => ({ ...connection(each), random: undefined })),
      }
    }
    expect(plan(7)).to.deep.equal(plan(7))
    expect(plan(7)).not.to.deep.equal(plan(8))
  })

  describe('the checks', () => {
    it('detect repeats that are passed on', async () => {
      const result = await runWrongly({ dedupe: false })
      expect(result.twice).to.be.above(0)
      expect(isWhole(result)).to.equal(false)
      expect(failureOf('source', result)).to.match(/twice [1-9][\s\S]*--seed 13 --way source$/)
    })

    it('detect a missing event', async () => {
      const result = await runWrongly({}, (source) => source.filter(({ id }) => id !== '20'))
      expect(result).to.include({ lost: 1, twice: 0, outOfOrder: 0 })
      expect(isWhole(result)).to.equal(false)
    })

    it('detect events in the wrong order', async () => {
      let held: SseEvent | undefined
      const swap = (event: SseEvent) => {
        const earlier = held
        held = event.id === '20' ? event : undefined
        if (held) return []
        return earlier ? [event, earlier] : [event]
      }
      const result = await runWrongly({}, (source) => source.flatMap(swap))
      expect(result).to.include({ lost: 0, twice: 0, outOfOrder: 1 })
    })

    it('detect a damaged event', async () => {
      const spoil = (event: SseEvent) => (event.id === '20' ? { ...event, data: `${event.data}!` } : event)
      const result = await runWrongly({}, (source) => source.map(spoil))
      expect(result).to.include({ lost: 1, damaged: 1 })
    })

    it('detect a stream that ends too early', async () => {
      const result = await runWrongly({ resume: 'before-first-event' })
      expect(result.endedEarly + result.broken).to.be.above(0)
    })

    it('detect a connection that is left open', async () => {
      const left = new AbortController()
      const agent = new http.Agent()
      const { connection, ...scenario } = scenarioOf(seed)
      const upstream = await HostileUpstream.start({
        ...scenario,
        connection: (n) => ({ ...connection(n), fault: n === 0 ? 'blackhole' : undefined }),
      })
      const result = await run(
        upstream,
        async (given) => {
          http.get(given.url, { agent, signal: left.signal }).on('error', () => {})
          await until(
            () => given.requests === 1,
            () => 'the request arrives',
          )
          return sourceWay(given)
        },
        1000,
      )
      left.abort()
      agent.destroy()
      expect(result).to.include({ leftOpen: 1, lost: 0 })
    })
  })
})
