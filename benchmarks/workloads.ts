import { Bench } from './bench-context.ts'
import type { Goal, Result } from './figures.ts'
import { measureCpu } from './measure/cpu.ts'
import { measureFeedIdle } from './measure/feed-idle.ts'
import { measureLast } from './measure/feed-last.ts'
import { measureFeedReturn } from './measure/feed-return.ts'
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
const token = { eventSize, pace: { writeSize: eventSize }, streams: 50 }
const burst = { eventSize, pace: { writeSize }, streams: 10 }
const large = { eventSize: writeSize, pace: { writeSize }, streams: 10 }

const everybody: readonly KindName[] = kindNames.filter(
  (kind) => !['least', 'shared'].includes(kinds[kind].family),
)
const resilient = kindNames.filter((kind) => kinds[kind].family === 'resilient')
const clientLibraries = kindNames.filter((kind) => kinds[kind].family === 'client library')
const composing: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse-composed']
const scaled: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse']

/** One of each family, for a smoke run. */
const few: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse']

const fanout = { eventSize: 150, pace: { every: 10 }, streams: 2000 }
const fanoutBurst = { eventSize: 150, pace: { writeSize }, streams: 500 }
const hubs: readonly KindName[] = ['loop', 'better-sse', 'resilient-sse-hub']
const besideLoop = { beside: 'loop', subject: 'resilient-sse-hub' } as const

function cpu(
  title: string,
  plan: Plan & { streams: number },
  goal?: Goal,
  of: readonly KindName[] = everybody,
) {
  return (bench: Bench) =>
    measureCpu(bench, {
      title,
      plan,
      streams: bench.extent.quick ? Math.min(plan.streams, 3) : plan.streams,
      // A smoke run needs each kind once.
      kinds: bench.extent.quick && of === everybody && title !== 'paced' ? few : of,
      ...(goal && { goal }),
    })
}

export const workloads: Readonly<Record<string, Workload>> = {
  paced: {
    about: '50 streams, one event of 120 bytes every 5 ms on each',
    plan: paced,
    run: async (bench) => [
      await cpu('paced', paced, { mustReach: 1.15, aim: 1.05, shareOfClientLibraries: 0.5 })(bench),
    ],
  },
  token: {
    about: '50 streams, events of 120 bytes, one a write, as fast as they go',
    plan: token,
    run: async (bench) => [
      await cpu('token', token, { mustReach: 1.15, aim: 1.05, shareOfClientLibraries: 1 })(bench),
    ],
  },
  burst: {
    about: '10 streams, writes of 64 KiB full of events of 120 bytes',
    plan: burst,
    run: async (bench) => {
      const results = [
        await cpu('burst', burst, { mustReach: 1.5, aim: 1.2, shareOfClientLibraries: 0.2 })(bench),
      ]
      if (bench.extent.quick || bench.extent.heap === 0) return results
      // Where the bare pipe gets by without a full collection, which nobody else does.
      await using empty = await Bench.start({ ...bench.extent, heap: 0 })
      results.push(await cpu('burst, nothing else on the heap', burst, undefined, few)(empty))
      return results
    },
  },
  large: {
    about: '10 streams, events of 8 and of 64 KiB',
    plan: large,
    run: async (bench) => {
      const goal = { mustReach: 1.5, aim: 1.1 }
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
        goal: { mustReach: 1.25, aim: 1.1 },
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
        await measureReturn(bench, {
          title: 'return, clean end',
          drop: 'clean end',
          streams,
          kinds: ['reconnecting-pipe', ...of],
          // A tenth of the base delay of 1 s, and 20 ms.
          goal: { greatest: 120 },
        }),
        await measureReturn(bench, { title: 'return, outage', drop: 'outage', streams, kinds: of }),
      ]
    },
  },
  composed: {
    about: 'object mode through dedupe, an async generator and the serializer',
    run: async (bench) => [
      await cpu('composed, paced', paced, undefined, composing)(bench),
      await cpu('composed, burst', burst, undefined, composing)(bench),
    ],
  },
  scale: {
    about: '1,000, 3,000 and 10,000 streams at one event a second each',
    run: async (bench) => {
      const results: Result[] = []
      for (const streams of bench.extent.quick ? [10] : [1000, 3000, 10_000]) {
        results.push(await measureScale(bench, { title: 'scale', streams, kinds: scaled }))
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
        feed: besideLoop,
        goal: { mustReach: 1.1, ahead: 'better-sse' },
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
        feed: besideLoop,
        goal: { mustReach: 1.1, ahead: 'better-sse' },
      } as const
      const large = { eventSize: 65_000, pace: { writeSize: 65_000 } }
      return [
        await measureCpu(bench, { title: 'fanout-burst, one event', plan: large, ...burst }),
        await measureCpu(bench, { title: 'fanout-burst, events of 150 bytes', plan: fanoutBurst, ...burst }),
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
}
