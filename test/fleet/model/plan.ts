import { createRandom, oneOf, type Random, wholeBetween } from '../../support/flaky-upstream.ts'

/**
 * What happens to a machine, or to its network to Redis, for a time:
 * - `killed`: the process is killed. After the time, another process takes its place.
 * - `closed`: the hub is closed, as at SIGTERM. After the time, the process opens another hub.
 * - `suspended`: SIGSTOP, and after the time SIGCONT.
 * - `cut off`: connections to Redis break, and cannot be opened.
 * - `mute`: replies of Redis are lost. After the time, the connections break.
 * - `deaf`: messages of channels are lost.
 * - `slow`: every byte to and from Redis is late.
 * - `reset`: connections to Redis break once.
 */
export const faults = ['killed', 'closed', 'suspended', 'cut off', 'mute', 'deaf', 'slow', 'reset'] as const

type Fault = (typeof faults)[number]

interface Event {
  /** The event happens when the upstream has published this many events. */
  readonly at: number
  readonly machine: number
}

export interface PlannedFault extends Event {
  readonly fault: Fault
  /** In milliseconds. */
  readonly duration: number
}

export interface ClientPlan {
  readonly number: number
  readonly from: 'live' | 'start'
  /** The client comes when the upstream has published this many events. */
  readonly comesAt: number
  /** After how many events the client moves to another machine, with a pause in milliseconds. */
  readonly movesAfter: number
  readonly pause: number
  readonly random: Random
}

/** The plan of a run: the same seed always gives the same plan. */
export interface Plan {
  readonly seed: number
  /** A feed can be resumed; the answer of a session is sent once. */
  readonly kind: 'feed' | 'session'
  readonly packages: readonly ('redis' | 'ioredis')[]
  readonly events: number
  readonly clients: readonly ClientPlan[]
  readonly faults: readonly PlannedFault[]
  /** Redis itself is suspended, for `duration` milliseconds. */
  readonly pauses: readonly { readonly at: number; readonly duration: number }[]
  /** The stream is cancelled by this machine. */
  readonly cancel: Event | undefined
  /** How a feed ends that is not cancelled before: by a cancel, or when all hubs are closed. */
  readonly ending: 'cancel' | 'close'
  readonly linger: number
  readonly windowBytes: number
  readonly random: Random
}

/** Milliseconds: shorter than most faults, so that owners lose their leases. */
export const lease = 400
/** Milliseconds: some faults are longer. */
export const storeTimeout = 1500

const durations = [20, 150, lease, 2 * lease, 2 * storeTimeout] as const

export function planOf(seed: number): Plan {
  const random = createRandom(Math.imul(seed, 7919))
  const size = oneOf([2, 2, 3], random())
  const kind = random() < 0.65 ? 'feed' : 'session'
  const events = wholeBetween(20, 60, random())
  const machine = () => wholeBetween(0, size - 1, random())
  const isCancelled = random() < 0.2
  return {
    seed,
    kind,
    packages: Array.from({ length: size }, () => (random() < 0.5 ? 'redis' : 'ioredis')),
    events,
    clients: Array.from({ length: wholeBetween(2, 5, random()) }, (_, n) => clientOf(n, events, random)),
    faults: Array.from({ length: wholeBetween(1, 5, random()) }, () => ({
      at: wholeBetween(1, events, random()),
      machine: machine(),
      fault: oneOf<Fault>(faults, random()),
      duration: oneOf<number>(durations, random()),
    })),
    pauses: Array.from({ length: random() < 0.2 ? 1 : 0 }, () => ({
      at: wholeBetween(1, events, random()),
      duration: oneOf([100, 2 * lease], random()),
    })),
    cancel: isCancelled ? { at: wholeBetween(1, events, random()), machine: machine() } : undefined,
    ending: oneOf(['cancel', 'close'], random()),
    linger: kind === 'session' ? Number.POSITIVE_INFINITY : oneOf([50, 10_000], random()),
    windowBytes: oneOf([0, 200, 2 ** 20], random()),
    random,
  }
}

function clientOf(number: number, events: number, random: Random): ClientPlan {
  return {
    number,
    // The first client stays to the end: without clients the upstream would be closed.
    from: number === 0 || random() < 0.6 ? 'start' : 'live',
    comesAt: number === 0 || random() < 0.5 ? 0 : wholeBetween(1, events, random()),
    movesAfter: number > 0 && random() < 0.6 ? wholeBetween(1, 10, random()) : Number.POSITIVE_INFINITY,
    pause: oneOf([0, 0, 30, 300], random()),
    random: createRandom(Math.floor(random() * 2 ** 32)),
  }
}
