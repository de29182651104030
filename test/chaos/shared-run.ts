import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Ledger } from '../support/ledger.ts'
import { positionsIn } from './client.ts'
import type { Result } from './run.ts'
import { StoredLog } from './shared-check.ts'
import { SharedClient } from './shared-client.ts'
import { Hubs } from './shared-hubs.ts'
import { type SharedWay, sharedPlanOf } from './shared-plan.ts'
import type { HostileUpstream } from './upstream.ts'

/** Runs the scenario of an upstream through hubs with many clients, and closes the upstream. */
export async function runShared(upstream: HostileUpstream, way: SharedWay): Promise<Result> {
  const { scenario, trace } = upstream
  const plan = sharedPlanOf(way, scenario)
  const agent = new http.Agent({ keepAlive: true })
  const hubs = await Hubs.start(plan, upstream, agent)
  try {
    const clients = plan.clients.map((each) => new SharedClient(each, hubs))
    let reading = 0
    await Promise.all(
      clients.map(async (client) => {
        const isEarly = () => hubs.stored < client.plan.comesAt && !hubs.isOver && reading > 0
        if (client.plan.number > 0) await sleep(1)
        while (isEarly()) await sleep(5)
        reading++
        await client.read()
        reading--
      }),
    )
    await hubs.settle()
    const { events, hasFailed, end } = hubs.store
    const log = new StoredLog(events)
    const seen = clients.map(({ steps, plan: { from } }) =>
      log.compare(steps, from === 'start', plan.retention !== undefined),
    )
    const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)
    const ledger = ledgerOf(upstream, events)
    const isWhole = way !== 'session' && end === 'ended'
    const lost = isWhole ? ledger.lost(scenario.log.filter(({ data }) => data !== undefined).length) : 0
    const faults = [...hubs.faults, ...clients.flatMap((client) => client.faults)]
    if (hasFailed && !hubs.mayFail) faults.push('the stream has failed')
    for (const [n, { lost, twice, damaged, notes }] of seen.entries()) {
      if (lost + twice + damaged === 0) continue
      const { kind, from } = clients[n]?.plan ?? {}
      trace.push(`client ${n} (${kind}, ${from}): lost ${lost}, twice ${twice}, damaged ${damaged}`, ...notes)
    }
    return {
      seed: scenario.seed,
      delivered: sum(seen.map(({ delivered }) => delivered)),
      lost: lost + sum(seen.map((each) => each.lost)),
      twice: ledger.twice + sum(seen.map(({ twice }) => twice)),
      outOfOrder: ledger.outOfOrder,
      damaged: ledger.damaged + sum(seen.map(({ damaged }) => damaged)),
      endedEarly: sum(clients.map(({ endedEarly }) => endedEarly)),
      broken: hubs.mayBreak ? 0 : sum(clients.map(({ broken }) => broken)),
      hung: clients.some(({ hung }) => hung),
      leftOpen: hubs.leftOpen,
      attempts: upstream.requests,
      faultCounts: upstream.faultCounts,
      faults,
      trace,
    }
  } finally {
    await hubs.close()
    agent.destroy()
    await upstream.close()
  }
}

/** Compares the log with the upstream's. */
function ledgerOf({ scenario }: HostileUpstream, events: Hubs['store']['events']): Ledger {
  const ledger = new Ledger({
    positionOf: positionsIn(scenario.log),
    mayRepeat: (position) => !scenario.log[position - 1]?.counts,
  })
  for (const { id, event, data } of events) {
    const [, encoded, plain] = /^\d+-\d+\/(?:\/(.*)|(.*))$/s.exec(id) ?? []
    ledger.note({ id: plain ?? (encoded && decodeURIComponent(encoded)), event, data })
  }
  return ledger
}
