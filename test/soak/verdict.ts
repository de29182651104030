import { mostClosedSources, type SoakOptions } from './options.ts'
import type { Outcome } from './soak.ts'

/** The failures of a run; empty when the run passes. */
export function faultsOf(outcome: Outcome, options: SoakOptions): string[] {
  const { trends, closedSources, report, relays, leftOpen, complaints } = outcome
  const wrong = trends
    .filter(({ isFlat }) => !isFlat)
    .map(({ what, growth }) => `memory grows: ${what} by ${percent(growth)}`)
  if (closedSources > mostClosedSources(options)) {
    wrong.push(`memory: ${closedSources} sources of closed relays were not collected`)
  }
  if (report === undefined)
    return [...wrong, 'the process of upstreams and clients did not finish', ...complaints]
  for (const flaw of ['lost', 'twice', 'outOfOrder', 'damaged', 'broken', 'unfinished'] as const) {
    if (report[flaw] > 0) wrong.push(`at the clients: ${flaw} ${report[flaw]}`)
  }
  if (report.delivered === 0) wrong.push('no event was delivered')
  for (const [outcome, count] of Object.entries(relays.outcomes)) {
    if (outcome !== 'ended' && outcome !== 'client-gone' && outcome !== 'refused') {
      wrong.push(`relays that failed: ${count} × ${outcome}`)
    }
  }
  if (relays.open > 0) wrong.push(`relays that did not settle: ${relays.open}`)
  if (relays.sources > 0) wrong.push(`sources left in memory: ${relays.sources}`)
  for (const [type, count] of leftOpen) wrong.push(`left open: ${count} × ${type}`)
  return [...wrong, ...complaints]
}

export function percent(share: number): string {
  return `${share < 0 ? '' : '+'}${(share * 100).toFixed(1)} %`
}
