import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { now } from './answering.ts'
import { Bench, type Extent } from './bench-context.ts'
import { FeedTraffic } from './feed-traffic.ts'
import { type KindName, kinds } from './relays/kinds.ts'
import { Traffic } from './traffic.ts'
import type { Workload } from './workloads.ts'

/** What is read of a V8 CPU profile; times in microseconds. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly startTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const root = fileURLToPath(new URL('..', import.meta.url))

/** Profiles a relay of one kind under one workload; says where the profile is, and in which functions the time went. */
export async function profile(workload: Workload, kind: KindName, extent: Extent): Promise<string> {
  const { plan } = workload
  if (!plan) throw new Error('this workload is not one of CPU time per event')
  const folder = await mkdtemp(path.join(os.tmpdir(), 'bench-profile-'))
  let from = 0
  let to = 0
  {
    await using bench = await Bench.start(extent)
    const relay = await bench.start(kind, [
      '--cpu-prof',
      `--cpu-prof-dir=${folder}`,
      '--cpu-prof-interval=200',
    ])
    const serves = kinds[kind].family === 'shared' ? FeedTraffic : Traffic
    const traffic = await serves.open(bench, relay, plan, plan.streams)
    await traffic.warmUp()
    // Compiled code is what is of interest.
    await traffic.send(extent.seconds)
    from = now()
    await traffic.send(extent.seconds * extent.rounds)
    to = now()
    await bench.close()
    await relay.stop()
  }
  // The main thread's; that of the loader thread has another number.
  const name = (await readdir(folder)).find((file) => file.split('.').at(-3) === '0')
  if (name === undefined) throw new Error(`no profile in ${folder}`)
  const file = path.join(folder, name)
  const cpuProfile: CpuProfile = JSON.parse(await readFile(file, 'utf8'))
  return `${file}\n\n${selfTimes(cpuProfile, from * 1000, to * 1000)}`
}

/** The functions with the most self time between two times, as a table. */
function selfTimes(cpuProfile: CpuProfile, from: number, to: number): string {
  const { nodes, startTime, samples, timeDeltas } = cpuProfile
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const times = new Map<string, number>()
  let total = 0
  let at = startTime
  samples.forEach((id, index) => {
    at += timeDeltas[index] ?? 0
    if (at < from || at > to) return
    const name = names.get(id) ?? '?'
    // A sample stands for the time until the next one.
    const time = timeDeltas[index + 1] ?? 0
    times.set(name, (times.get(name) ?? 0) + time)
    total += time
  })
  const busy = total - (times.get('(idle)') ?? 0)
  times.delete('(idle)')
  const share = (time: number) => `${((time / busy) * 100).toFixed(1).padStart(5)} %`
  const rows = [...times].sort(([, a], [, b]) => b - a).slice(0, 20)
  return [
    `busy for ${(busy / 1000).toFixed(0)} ms of ${(total / 1000).toFixed(0)} ms; self time:`,
    ...rows.map(([name, time]) => `${share(time)}  ${(time / 1000).toFixed(1).padStart(8)} ms  ${name}`),
  ].join('\n')
}

function nameOf(frame: CpuProfile['nodes'][number]['callFrame']): string {
  const { functionName, url, lineNumber } = frame
  const place = url.startsWith('file:') ? path.relative(root, fileURLToPath(url)) : url
  return `${functionName || '(anonymous)'}${place === '' ? '' : ` ${place}:${lineNumber + 1}`}`
}
