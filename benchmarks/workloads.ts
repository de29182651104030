import { Bench } from './bench-context.ts'
import type { Goal, Result } from './figures.ts'
import { measureAnswers } from './measure/answers.ts'
import { measureCpu } from './measure/cpu.ts'
import { measureFeedIdle } from './measure/feed-idle.ts'
import { measureLast } from './measure/feed-last.ts'
import { measureFeedReturn } from './measure/feed-return.ts'
import { measureFleet } from './measure/fleet-events.ts'
import { measureFleetMemory } from './measure/fleet-memory.ts'
import { measureFleetReturn } from './measure/fleet-return.ts'
import { measureFleetStored } from './measure/fleet-stored.ts'
import { measureMemory } from './measure/memory.ts'
import { measureResume } from './measure/resume.ts'
import { measureReturn } from './measure/return.ts'
import { measureScale } from './measure/scale.ts'
import { measureSessions } from './measure/sessions.ts'
import { type KindName, kindNames, kinds } from './relays/kinds.ts'
import type { Plan } from './wire.ts'

export interface Workload {
  /** What is sent and measured. */
  readonly about: string
  /** What is sent, where the figure is CPU time per event. */
  readonly plan?: Plan & { readonly streams: number }
  run(bench: Bench): Promise<Result[]>
}

/** A token of a language model with what is around it. */
const eventSize = 120
const writeSize = 65_536

const paced = { eventSize, pace: { every: 5 }, streams: 50 }
const busy = { eventSize, pace: 'in step', streams: 50 } as const
const token = { eventSize, pace: { writeSize: eventSize }, streams: 50 }
const burst = { eventSize, pace: { writeSize }, streams: 10 }
const large = { eventSize: writeSize, pace: { writeSize }, streams: 10 }

const everybody: readonly KindName[] = kindNames.filter(
  (kind) => !['least', 'shared', 'variant', 'fleet'].includes(kinds[kind].family),
)
const resilient = kindNames.filter((kind) => kinds[kind].family === 'resilient')
const clientLibraries = kindNames.filter((kind) => kinds[kind].family === 'client library')
const composing: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse-composed']
const transforming: readonly KindName[] = ['pipeline', 'resilient-sse-transform']
const scaled: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse']

/** One of each family, for a smoke run. */
const few: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse']

const fanout = { eventSize: 150, pace: { every: 10 }, streams: 2000 }
const fanoutBurst = { eventSize: 150, pace: { writeSize }, streams: 500 }
const hubs: readonly KindName[] = ['loop', 'better-sse', 'resilient-sse-hub']
const fleets: readonly KindName[] = [
  'resilient-sse-session',
  'resilient-sse-redis',
  'resilient-sse-ioredis',
  'resumable-stream',
  'better-sse-redis',
]
const besideMemory = { beside: 'resilient-sse-session', subject: 'resilient-sse-redis' } as const
const besideLoop = { beside: 'loop', subject: 'resilient-sse-hub' } as const
const feed = { ...besideLoop, isFeed: true } as const
/** Most of what a resilient stream costs is the price of its two sockets, so it must cost less than the bare pipe. */
const belowPipe: Goal = { mustReach: 0.95, aim: 0.75 }

function cpu(
  title: string,
  plan: Plan & { streams: number },
  goal?: Goal,
  of: readonly KindName[] = everybody,
  subject?: KindName,
) {
  return (bench: Bench) =>
    measureCpu(bench, {
      title,
      plan,
      streams: bench.extent.quick ? Math.min(plan.streams, 3) : plan.streams,
      // A smoke run needs each kind once.
      kinds: bench.extent.quick && of === everybody && title !== 'paced' ? few : of,
      ...(goal && { goal }),
      ...(subject && { subject }),
    })
}

export const workloads: Readonly<Record<string, Workload>> = {
  paced: {
    about: '50 streams, one event of 120 bytes every 5 ms on each',
    plan: paced,
    run: async (bench) => [await cpu('paced', paced, belowPipe)(bench)],
  },
  busy: {
    about:
      '50 streams, one event of 120 bytes on each, the next one on all of them when the last one has arrived',
    plan: busy,
    run: async (bench) => [await cpu('busy', busy, belowPipe)(bench)],
  },
  token: {
    about: '50 streams, events of 120 bytes, one a write, as fast as they go',
    plan: token,
    run: async (bench) => [
      await cpu('token', token, { mustReach: 0.95, aim: 0.8, shareOfClientLibraries: 1 })(bench),
    ],
  },
  burst: {
    about: '10 streams, writes of 64 KiB full of events of 120 bytes',
    plan: burst,
    run: async (bench) => {
      const goals = [
        [0, { mustReach: 1, aim: 0.87 }],
        [16, { mustReach: 0.8, aim: 0.5 }],
        [100, { mustReach: 0.8, aim: 0.4 }],
      ] as const
      if (bench.extent.quick) return [await cpu('burst', burst)(bench)]
      const results: Result[] = []
      for (const [heap, goal] of goals) {
        await using beside = await Bench.start({ ...bench.extent, heap })
        results.push(await cpu(`burst, ${heap} MiB on the heap`, burst, goal)(beside))
      }
      return results
    },
  },
  large: {
    about: '10 streams, events of 8 and of 64 KiB',
    plan: large,
    run: async (bench) => {
      const goal = { mustReach: 0.95, aim: 0.5 }
      const small = { ...large, eventSize: 8192, pace: { writeSize: 8192 } }
      return [await cpu('large, 8 KiB', small, goal)(bench), await cpu('large, 64 KiB', large, goal)(bench)]
    },
  },
  idle: {
    about: 'resident memory of 3,000 open, quiet streams',
    run: async (bench) => [
      await measureMemory(bench, {
        title: 'idle',
        streams: bench.extent.quick ? 20 : 3000,
        kinds: bench.extent.quick ? few : everybody,
        goal: { mustReach: 1, aim: 0.85 },
      }),
    ],
  },
  resume: {
    about:
      'events repeated after a drop: from the first byte of the connection to the first fresh event at the client',
    run: async (bench) => [await measureResume(bench, { title: 'resume', kinds: resilient })],
  },
  return: {
    about:
      '200 streams at once: from a clean end, or from the return of the upstream after 2.5 s, to the next event at the client',
    run: async (bench) => {
      const all = [...clientLibraries, ...resilient]
      const streams = bench.extent.quick ? 3 : 200
      const of = bench.extent.quick ? all.filter((kind) => few.includes(kind)) : all
      return [
        ...(await measureReturn(bench, {
          title: 'return, clean end',
          drop: 'clean end',
          streams,
          kinds: ['reconnecting-pipe', ...of],
          beside: 'reconnecting-pipe',
          goal: { mustReach: 1.15 },
          costGoal: { mustReach: 2, aim: 1.5 },
        })),
        ...(await measureReturn(bench, { title: 'return, outage', drop: 'outage', streams, kinds: of })),
      ]
    },
  },
  composed: {
    about: 'object mode through dedupe, an async generator and the serializer',
    run: async (bench) => {
      const goal = { aheadOf: ['eventsource-client'] } as const
      const subject = 'resilient-sse-composed'
      return [
        await cpu('composed, paced', paced, goal, composing, subject)(bench),
        await cpu('composed, burst', burst, goal, composing, subject)(bench),
      ]
    },
  },
  transform: {
    about: 'events read and written anew on their way through the relay, by its option `transform`',
    run: async (bench) => {
      const subject = 'resilient-sse-transform'
      return [
        await cpu('transform, paced', paced, { mustReach: 1, aim: 0.9 }, transforming, subject)(bench),
        await cpu('transform, burst', burst, undefined, transforming, subject)(bench),
      ]
    },
  },
  secure: {
    about:
      '`paced` and `burst` over TLS to the upstream, over TLS to the client, and over HTTP/2 to the client',
    run: async (bench) => {
      const transports = [
        ['TLS to the upstream', { upstream: 'https', client: 'http' }],
        ['TLS to the client', { upstream: 'http', client: 'https' }],
        ['HTTP/2 to the client', { upstream: 'http', client: 'http2' }],
      ] as const
      const goal = { mustReach: 1.1, aim: 1 }
      const kinds = ['pipeline', 'resilient-sse'] as const
      const results: Result[] = []
      for (const [name, transport] of transports) {
        await using secure = await Bench.start(bench.extent, transport)
        results.push(await cpu(`${name}, paced`, paced, goal, kinds)(secure))
        results.push(await cpu(`${name}, burst`, burst, goal, kinds)(secure))
      }
      return results
    },
  },
  answers: {
    about: 'JSON answers of 1 and of 100 KB through a proxy, on 50 connections: what is only passed on',
    run: async (bench) => {
      const compared = {
        connections: bench.extent.quick ? 3 : 50,
        kinds: ['http-proxy-3', 'http-proxy', 'reply-from', 'nginx', 'haproxy', 'resilient-sse-proxy'],
        beside: 'http-proxy-3',
        subject: 'resilient-sse-proxy',
        goal: { aheadOf: ['http-proxy-3', 'reply-from'] },
      } as const
      return [
        await measureAnswers(bench, { title: 'answers, 1 KB', bytes: 1000, ...compared }),
        await measureAnswers(bench, { title: 'answers, 100 KB', bytes: 100_000, ...compared }),
      ]
    },
  },
  scale: {
    about: '1,000, 3,000 and 9,000 streams at one event a second each',
    run: async (bench) => {
      const results: Result[] = []
      for (const streams of bench.extent.quick ? [10] : [1000, 3000, 9000]) {
        results.push(
          await measureScale(bench, {
            title: 'scale',
            streams,
            kinds: scaled,
            goal: { mustReach: 1, aim: 0.85 },
          }),
        )
      }
      return results
    },
  },
  fanout: {
    about: 'one upstream for 2,000 clients, an event of 150 bytes at most every 10 ms',
    plan: fanout,
    run: async (bench) => [
      await measureCpu(bench, {
        title: 'fanout',
        plan: fanout,
        streams: bench.extent.quick ? 3 : fanout.streams,
        kinds: hubs,
        ...feed,
        goal: { mustReach: 1.1, aheadOf: ['better-sse'] },
      }),
    ],
  },
  'fanout-burst': {
    about:
      'one upstream for 500 clients: one event of 65,000 bytes, or 64 KiB full of events of 150 bytes, in a write',
    plan: fanoutBurst,
    run: async (bench) => {
      const burst = {
        streams: bench.extent.quick ? 3 : fanoutBurst.streams,
        kinds: hubs,
        ...feed,
        goal: { mustReach: 1.1, aheadOf: ['better-sse'] },
      } as const
      const large = { eventSize: 65_000, pace: { writeSize: 65_000 } }
      const small = { plan: fanoutBurst, ...burst, kinds: [...hubs, 'loop-ids'] } as const
      return [
        await measureCpu(bench, { title: 'fanout-burst, one event', plan: large, ...burst }),
        await measureCpu(bench, { title: 'fanout-burst, events of 150 bytes', ...small }),
      ]
    },
  },
  'fanout-last': {
    about: 'one event for 1,000 clients: from the upstream to the last of them',
    run: async (bench) => [
      await measureLast(bench, {
        title: 'fanout-last',
        clients: bench.extent.quick ? 3 : 1000,
        kinds: hubs,
        goal: { mustReach: 1.2 },
        ...besideLoop,
      }),
    ],
  },
  'fanout-idle': {
    about: 'one quiet upstream for 10,000 clients: resident memory, and the CPU time of heartbeats',
    run: (bench) =>
      measureFeedIdle(bench, {
        title: 'fanout-idle',
        clients: bench.extent.quick ? 20 : 10_000,
        kinds: hubs,
        heartbeats: ['loop', 'resilient-sse-hub'],
        goal: { mustReach: 1.2 },
        ...besideLoop,
      }),
  },
  'fanout-return': {
    about: '1,000 clients that return at once, each with 1 MB to catch up on: the most resident memory',
    run: async (bench) => [
      await measureFeedReturn(bench, {
        title: 'fanout-return',
        clients: bench.extent.quick ? 3 : 1000,
        bytes: 1_000_000,
        kinds: ['file', 'resilient-sse-hub'],
        beside: 'file',
        subject: 'resilient-sse-hub',
        goal: { greatest: 100 },
      }),
    ],
  },
  sessions: {
    about: '1,000 answers at once, events of 150 bytes: each for one client, and for clients that return',
    run: async (bench) => {
      const sessions = bench.extent.quick ? 3 : 1000
      const compared = {
        sessions,
        kinds: ['resilient-sse-completion', 'resilient-sse-session'],
        beside: 'resilient-sse-completion',
        subject: 'resilient-sse-session',
        goal: { mustReach: 1.3 },
      } as const
      const tokens = bench.extent.quick ? 10 : 40
      return [
        await measureSessions(bench, { title: 'sessions, 500 events each', tokens: 500, ...compared }),
        await measureSessions(bench, {
          title: 'sessions, an event every 200 ms on each',
          tokens,
          every: bench.extent.quick ? 20 : 200,
          ...compared,
        }),
      ]
    },
  },
  fleet: {
    about: '5,000 streams, 1,000 events a second in all, through two processes and Redis',
    run: (bench) =>
      measureFleet(bench, {
        title: 'fleet',
        streams: bench.extent.quick ? 20 : 5000,
        every: bench.extent.quick ? 100 : 5000,
        kinds: fleets,
        goals: {
          ownerMedian: { added: 1.5 },
          ownerTail: { median: 20 },
          followerMedian: { added: 3 },
          followerTail: { median: 20 },
          redisCpu: { median: 120 },
        },
        ...besideMemory,
      }),
  },
  'fleet-busy': {
    about: '1,000 streams, 10,000 events a second in all, through two processes and Redis',
    run: (bench) =>
      measureFleet(bench, {
        title: 'fleet-busy',
        streams: bench.extent.quick ? 20 : 1000,
        every: bench.extent.quick ? 10 : 100,
        kinds: fleets,
        goals: { growth: { median: 100 } },
        ...besideMemory,
      }),
  },
  'fleet-memory': {
    about: '5,000 streams of another process, each with a client: resident memory',
    run: async (bench) => [
      await measureFleetMemory(bench, {
        title: 'fleet-memory',
        streams: bench.extent.quick ? 20 : 5000,
        kinds: ['open-responses', ...fleets.slice(1)],
        beside: 'open-responses',
        subject: 'resilient-sse-redis',
        goal: { median: 20 },
      }),
    ],
  },
  'fleet-stored': {
    about: 'completions of 500 events, which arrive one by one: bytes in Redis',
    run: async (bench) => [
      await measureFleetStored(bench, {
        title: 'fleet-stored',
        completions: bench.extent.quick ? 2 : 20,
        tokens: bench.extent.quick ? 10 : 500,
        kinds: fleets.slice(1),
        beside: 'resilient-sse-redis',
        subject: 'resilient-sse-redis',
      }),
    ],
  },
  'fleet-return': {
    about:
      '10,000 clients that come at once to another process, each for a stream of 1 MB: the most resident memory',
    run: async (bench) => {
      const { quick } = bench.extent
      const returned = {
        clients: quick ? 10 : 10_000,
        bytes: quick ? 30_000 : 1_000_000,
        kinds: ['resilient-sse-redis', 'resilient-sse-ioredis'],
        beside: 'resilient-sse-redis',
        subject: 'resilient-sse-redis',
        goal: { greatest: 300 },
      } as const
      return [
        await measureFleetReturn(bench, { title: 'fleet-return, one stream', streams: 1, ...returned }),
        await measureFleetReturn(bench, {
          title: 'fleet-return, 100 streams',
          streams: quick ? 5 : 100,
          ...returned,
        }),
      ]
    },
  },
}
