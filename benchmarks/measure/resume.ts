import { createParser } from 'eventsource-parser'
import type { Bench } from '../bench-context.ts'
import type { Figure, Result } from '../figures.ts'
import { during, progress } from '../progress.ts'
import type { KindName } from '../relays/kinds.ts'
import { spreadOf } from '../spread.ts'
import { EventWriter } from '../wire.ts'

export interface ResumeWorkload {
  readonly title: string
  readonly kinds: readonly KindName[]
}

/** A thousand of them have room in what the library keeps to know repeats by (`windowBytes`, 64 KiB). */
const eventSize = 64

/** From the first byte of a connection that repeats the latest events to the arrival of the first fresh one. */
export async function measureResume(bench: Bench, { title, kinds }: ResumeWorkload): Promise<Result> {
  const replay = bench.extent.quick ? 50 : 1000
  const samples = bench.extent.quick ? 1 : bench.extent.rounds * 4
  const figures: Figure[] = [{ kind: 'parsing alone', value: spreadOf(parseAlone(replay, samples)) }]
  for (const kind of bench.chosen(kinds)) {
    const times = await during(`${title}, ${kind}`, measureOne(bench, kind, replay, samples))
    progress(`${title}: ${kind}: ${spreadOf(times).median.toFixed(2)} ms`)
    figures.push({ kind, value: spreadOf(times) })
  }
  return { title: `${title}, ${replay.toLocaleString('en')} events`, unit: 'ms', figures }
}

async function measureOne(bench: Bench, kind: KindName, replay: number, samples: number): Promise<number[]> {
  const { upstream, client } = bench
  const relay = await bench.relay(kind)
  const times: number[] = []
  // The shortest reconnection time that the library agrees to.
  await upstream.plan({ eventSize, pace: 'quiet', replay, retry: 100 })
  await client.open({ url: relay.url, streams: 1, eventSize })
  await upstream.go(replay)
  await client.settle(await upstream.halt())
  for (let sample = 0; sample < samples; sample++) {
    await client.mark()
    await upstream.does('reset')
    const [arrived] = await client.nextArrivals(20_000)
    if (typeof arrived !== 'number') throw new Error(`${kind} did not resume`)
    times.push(arrived - (await upstream.answeredAt()))
  }
  await client.settle(await upstream.halt())
  await bench.close()
  return times
}

/** What it takes to parse the same bytes, in one chunk, and nothing else. */
function parseAlone(replay: number, samples: number): number[] {
  const bytes = new EventWriter({ eventSize }).write(1, replay + 1)
  return Array.from({ length: samples }, () => {
    let events = 0
    const parser = createParser({
      onEvent: () => {
        events++
      },
    })
    const start = performance.now()
    parser.feed(bytes.toString('utf8'))
    const time = performance.now() - start
    if (events !== replay + 1) throw new Error(`parsed ${events} events of ${replay + 1}`)
    return time
  })
}
