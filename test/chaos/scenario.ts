import { createRandom, oneOf, type Random, wholeBetween } from '../support/flaky-upstream.ts'
import { type Block, logOf } from './log.ts'

/** The faults of an upstream: on a request, or on an open connection. */
const faults = [
  'end',
  'reset',
  'reset and lose',
  'silence',
  'cut and end',
  'cut and reset',
  'truncated chunk',
  'content-length too long',
  'content-length too short',
  'refused',
  'blackhole',
  'no answer',
  'status',
  'html',
] as const

export type Fault = (typeof faults)[number]

/** How an upstream splits its bytes into writes. */
const deliveries = ['whole', 'pieces', 'single bytes', 'paced'] as const

type Delivery = (typeof deliveries)[number]

/** The course of one connection. It depends only on the seed and the connection's number, not on the machine. */
export interface ConnectionPlan {
  /** Undefined for a connection that delivers the rest of the log. */
  readonly fault: Fault | undefined
  /** The number of new events before the fault. */
  readonly events: number
  readonly delivery: Delivery
  /** The number of events that the connection repeats. */
  readonly overlap: number
  /** A number from 0 to below 1 that decides, for example, where an event is cut. */
  readonly chance: number
  /** Decides all other details of this connection. */
  readonly random: Random
}

/** The kinds of clients. */
const clients = ['steady', 'slow', 'stalling', 'returning'] as const

interface ClientPlan {
  readonly kind: (typeof clients)[number]
  /** The numbers of events, counted over all connections, after which the client stalls or disconnects. */
  readonly after: readonly number[]
  /** How long the client then stays away, in milliseconds. */
  readonly pause: number
}

/** The plan of a run. */
export interface Scenario {
  readonly seed: number
  /** All blocks of the upstream. */
  readonly log: readonly Block[]
  /** Where the upstream resumes: exactly after the last event ID, sometimes earlier, or always at the start of the log. */
  readonly resume: 'exact' | 'overlapping' | 'ignored'
  /** Whether a client that reconnects may receive events again. */
  readonly replays: boolean
  /** The position at which the upstream restarts: later ids count from 1 again. */
  readonly restart: number | undefined
  readonly client: ClientPlan
  /** Whether the way `source` uses object mode. */
  readonly objectMode: boolean
  /** The plan of the n-th connection, from 0. */
  connection(n: number): ConnectionPlan
}

/** The scenario of a seed. A seed always gives the same scenario. */
export function scenarioOf(seed: number): Scenario {
  const random = createRandom(seed)
  // One scenario in eight cuts an event at each of its bytes in turn, so that no position depends on chance.
  const sweep = random() < 1 / 8
  const { log, restart, distinct } = logOf(random, sweep)
  const kinds = restart === undefined ? clients : (['steady', 'slow', 'stalling'] as const)
  const kind = oneOf<(typeof clients)[number]>(kinds, random())
  const stops = wholeBetween(1, 5, random())
  const resumes = ['exact', 'exact', 'overlapping', 'overlapping', 'ignored'] as const
  const resume = sweep ? 'exact' : oneOf<Scenario['resume']>(resumes, random())
  return {
    seed,
    log,
    resume,
    replays: resume !== 'exact' || !distinct,
    restart,
    client: {
      kind,
      after: Array.from({ length: stops }, () => wholeBetween(1, log.length - 1, random())).sort(
        (a, b) => a - b,
      ),
      pause: wholeBetween(1, kind === 'stalling' ? 300 : 60, random()),
    },
    objectMode: random() < 0.5,
    connection: sweep ? (n) => sweepOf(seed, n) : planOf(seed, wholeBetween(8, 25, random()), log.length),
  }
}

function planOf(seed: number, faulty: number, events: number): (n: number) => ConnectionPlan {
  return (n) => {
    const random = randomOf(seed, n)
    const chance = random()
    const fault = oneOf(faults, random())
    return {
      fault: n < faulty ? fault : undefined,
      events: wholeBetween(random() < 0.2 ? 0 : 1, Math.ceil((1.5 * events) / faulty), random()),
      delivery: oneOf(deliveries, random()),
      overlap: n < faulty ? wholeBetween(0, 40, random()) : 0,
      chance,
      random,
    }
  }
}

/** Each connection delivers one event, and one more byte of the next event than the previous connection. */
function sweepOf(seed: number, n: number): ConnectionPlan {
  const random = randomOf(seed, n)
  return {
    fault: n % 2 === 0 ? 'cut and end' : 'cut and reset',
    events: 1,
    delivery: 'whole',
    overlap: 0,
    // A number from 1 is not a share but the position of the byte: the event's length is not known here.
    chance: n,
    random,
  }
}

const randomOf = (seed: number, n: number) => createRandom(Math.imul(seed, 7919) + n)
