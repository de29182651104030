import { Bench } from './bench-context.ts'
import type { Goal, Result } from './figures.ts'
import { measureCpu } from './measure/cpu.ts'
import { measureMemory } from './measure/memory.ts'
import { measureResume } from './measure/resume.ts'
import { measureReturn } from './measure/return.ts'
import { measureScale } from './measure/scale.ts'
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

const everybody: readonly KindName[] = kindNames.filter((kind) => kinds[kind].family !== 'least')
const resilient = kindNames.filter((kind) => kinds[kind].family === 'resilient')
const clientLibraries = kindNames.filter((kind) => kinds[kind].family === 'client library')
const composing: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse-composed']
const scaled: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse']

/** One of each family, for a smoke run. */
const few: readonly KindName[] = ['pipeline', 'eventsource-client', 'resilient-sse']

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
}
