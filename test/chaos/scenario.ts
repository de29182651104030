import { createRandom, oneOf, type Random, wholeBetween } from '../support/flaky-upstream.ts'
import { type Block, logOf } from './log.ts'

/** What an upstream does with the request for a connection, or with the connection once it is open. */
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

/** How an upstream hands its bytes over. */
const deliveries = ['whole', 'pieces', 'single bytes', 'paced'] as const

type Delivery = (typeof deliveries)[number]

/** How a connection goes; which one it is decides, and nothing that depends on the machine. */
export interface ConnectionPlan {
  /** None for a connection that is sound to the end of the log. */
  readonly fault: Fault | undefined
  /** How many new events are sent in front of the fault. */
  readonly events: number
  readonly delivery: Delivery
  /** How many events too early it starts. */
  readonly overlap: number
  /** Where in an event it is cut off, and other choices, from 0 to below 1. */
  readonly chance: number
  /** The numbers for everything else on this connection. */
  readonly random: Random
}

/** What a client does that is not simply there until the end. */
const clients = ['steady', 'slow', 'stalling', 'returning'] as const

interface ClientPlan {
  readonly kind: (typeof clients)[number]
  /** After how many events, counted over all connections, it stalls or vanishes. */
  readonly after: readonly number[]
  /** How long it then stays away, in milliseconds. */
  readonly pause: number
}

/** Everything that happens in a run. */
export interface Scenario {
  readonly seed: number
  /** What the upstream has to say, whole. */
  readonly log: readonly Block[]
  /** Whether the upstream heeds where it is asked to resume, starts too early now and then, or always at its start. */
  readonly resume: 'exact' | 'overlapping' | 'ignored'
  /** Whether a client that comes back may be told again what it was told before. */
  readonly replays: boolean
  /** The position at which the upstream restarts: the ids behind it count from 1 again. */
  readonly restart: number | undefined
  readonly client: ClientPlan
  /** How the client reads in the way without a server: events, or bytes. */
  readonly objectMode: boolean
  /** The plan of the n-th connection, from 0. */
  connection(n: number): ConnectionPlan
}

/** The scenario of a seed: always the same. */
export function scenarioOf(seed: number): Scenario {
  const random = createRandom(seed)
  // One in eight is cut at each byte of an event in turn, so that none is left to luck.
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

/** Each connection brings one event, and one byte more of the next than the connection before. */
function sweepOf(seed: number, n: number): ConnectionPlan {
  const random = randomOf(seed, n)
  return {
    fault: n % 2 === 0 ? 'cut and end' : 'cut and reset',
    events: 1,
    delivery: 'whole',
    overlap: 0,
    // Asks for an event whose length it does not know: the upstream takes the byte as it stands.
    chance: n,
    random,
  }
}

const randomOf = (seed: number, n: number) => createRandom(Math.imul(seed, 7919) + n)
