import type { RetentionOptions } from '../../src/index.ts'
import { createRandom, oneOf, type Random, wholeBetween } from '../support/flaky-upstream.ts'
import { type Fault, type Scenario, scenarioOf } from './scenario.ts'

/**
 * The ways through a hub: many clients of an upstream that can resume, the same with two hubs on one store, and an answer whose
 * upstream is asked once.
 */
export const sharedWays = ['feed', 'fleet', 'session'] as const

export type SharedWay = (typeof sharedWays)[number]

/** Clients that come back until they have seen the end of the stream. */
const faithful = ['event source', 'fetch', 'slow', 'returning', 'subscriber', 'responder'] as const
/** Clients that read one response only. */
const passing = ['program', 'leaving'] as const

export interface SharedClientPlan {
  readonly number: number
  readonly kind: (typeof faithful)[number] | (typeof passing)[number]
  readonly from: 'live' | 'start'
  /** The client comes when the store has this many events. */
  readonly comesAt: number
  /** The numbers of events, counted over all visits, after which a client that leaves does so. */
  readonly leavesAt: readonly number[]
  /** How long the client then stays away, in milliseconds. */
  readonly pause: number
  readonly random: Random
}

/** A hub is closed, and another one takes its place, when the store has a number of events. */
interface Replacement {
  readonly at: number
  readonly hub: number
  /** In milliseconds. */
  readonly drain: number
}

/** The store answers a hub nothing for a time, when the store has a number of events. */
interface Pause {
  readonly at: number
  readonly hub: number
  /** In milliseconds. */
  readonly duration: number
}

/** The plan of a run through hubs. */
export interface SharedPlan {
  readonly way: SharedWay
  readonly hubs: number
  readonly method: 'GET' | 'POST'
  readonly clients: readonly SharedClientPlan[]
  readonly replacements: readonly Replacement[]
  readonly pauses: readonly Pause[]
  /** The share of calls of the store that fail. */
  readonly storeFaults: number
  readonly maxRetries: number
  /** The stream is cancelled when the store has this many events. */
  readonly cancelAt: number | undefined
  readonly linger: number
  readonly windowBytes: number
  /** Undefined: the log keeps every event. */
  readonly retention: RetentionOptions | undefined
  readonly maxAge: number | undefined
  readonly random: Random
}

/** The upstream of a way and a seed: a session's upstream is read from one connection only. */
export function sharedScenarioOf(way: SharedWay, seed: number): Scenario {
  return way === 'session' ? sessionOf(scenarioOf(seed), randomOf(way, seed)) : scenarioOf(seed)
}

/** The plan of a way and a seed. The same arguments always give the same plan. */
export function sharedPlanOf(way: SharedWay, { seed, log, resume, replays }: Scenario): SharedPlan {
  const random = randomOf(way, seed + 1_000_003)
  const clients = Array.from({ length: wholeBetween(2, 8, random()) }, (_, number) =>
    clientOf(number, log.length, random),
  )
  const hubs = way === 'fleet' || (way === 'session' && random() < 0.4) ? 2 : 1
  const replaces = hubs === 2 && (way === 'fleet' || random() < 0.5)
  // A run that follows another one knows only the kept events again.
  const mayTrim = resume === 'exact' && !replays
  return {
    way,
    hubs,
    method: way === 'session' && random() < 0.6 ? 'POST' : 'GET',
    clients,
    replacements: Array.from({ length: replaces ? wholeBetween(1, 3, random()) : 0 }, () => ({
      at: wholeBetween(1, log.length, random()),
      hub: wholeBetween(0, hubs - 1, random()),
      drain: oneOf([0, 0, 50, 300], random()),
    })),
    pauses: Array.from({ length: hubs === 2 && random() < 0.2 ? wholeBetween(1, 2, random()) : 0 }, () => ({
      at: wholeBetween(1, log.length, random()),
      hub: wholeBetween(0, hubs - 1, random()),
      duration: wholeBetween(100, 1500, random()),
    })),
    storeFaults: oneOf([0, 0, 0.02, 0.1], random()),
    maxRetries:
      way !== 'session' && random() < 0.15 ? wholeBetween(0, 2, random()) : Number.POSITIVE_INFINITY,
    cancelAt: random() < 0.15 ? wholeBetween(1, log.length, random()) : undefined,
    linger: way === 'session' ? Number.POSITIVE_INFINITY : oneOf([0, 10, 100, 10_000], random()),
    windowBytes: oneOf([0, 1000, 20_000, 2 ** 20], random()),
    retention: mayTrim && random() < 0.3 ? { events: wholeBetween(5, 40, random()) } : undefined,
    maxAge: random() < 0.2 ? wholeBetween(50, 400, random()) : undefined,
    random,
  }
}

function clientOf(number: number, events: number, random: Random): SharedClientPlan {
  // The first client stays to the end: without clients the upstream would be closed.
  const kinds: readonly SharedClientPlan['kind'][] = number === 0 ? faithful : [...faithful, ...passing]
  return {
    number,
    kind: kinds[Math.floor(random() * kinds.length)] ?? 'fetch',
    from: number === 0 || random() < 0.6 ? 'start' : 'live',
    comesAt: number === 0 || random() < 0.3 ? 0 : wholeBetween(0, Math.ceil(1.2 * events), random()),
    leavesAt: Array.from({ length: wholeBetween(1, 5, random()) }, () =>
      wholeBetween(1, events, random()),
    ).sort((a, b) => a - b),
    pause: wholeBetween(1, 80, random()),
    random: createRandom(Math.floor(random() * 2 ** 32)),
  }
}

/** Refusals before the one connection that has events, which may be cut off. */
function sessionOf(scenario: Scenario, random: Random): Scenario {
  const refusals = wholeBetween(0, 2, random())
  const isWhole = random() < 0.6
  const cuts: readonly [Fault, ...Fault[]] = [
    'end',
    'reset',
    'reset and lose',
    'cut and end',
    'truncated chunk',
  ]
  return {
    ...scenario,
    resume: 'exact',
    restart: undefined,
    connection(n) {
      const plan = scenario.connection(n)
      const { chance } = plan
      // Above 1 in a sweep.
      const share = chance % 1
      if (n < refusals) return { ...plan, chance: share, fault: 'status' }
      const events = wholeBetween(1, scenario.log.length, share)
      return { ...plan, chance: share, overlap: 0, events, fault: isWhole ? undefined : oneOf(cuts, share) }
    },
  }
}

const randomOf = (way: SharedWay, seed: number) =>
  createRandom(Math.imul(seed, 104_729) + sharedWays.indexOf(way))
