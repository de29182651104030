import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { createSseHub, type SharedStreamOptions, type Upstream } from '../../src/index.ts'
import { request } from '../support/client.ts'
import { serveHub } from '../support/hub.ts'
import { leastGrowth, usedMemory } from '../support/memory.ts'
import { until } from '../support/until.ts'

const mebibyte = 1024 * 1024
const bodyOf = (body: AsyncIterable<Uint8Array>): Upstream => ({
  statusCode: 200,
  headers: { 'content-type': 'text/event-stream' },
  body,
})

/** An upstream of events of 64 KiB that goes on as long as it is read, and counts its bytes. */
function flood() {
  const event = Buffer.from(`data: ${'x'.repeat(65_536)}\n\n`)
  const flow = { bytes: 0 }
  async function* events() {
    for (;;) {
      flow.bytes += event.length
      yield event
    }
  }
  return { flow, factory: () => bodyOf(events()) }
}

describe('memory of shared streams', () => {
  it('stays flat over a feed with a client that does not read', async () => {
    const { flow, factory } = flood()
    await using feed = await serveHub(factory, { stallTimeout: 0, hub: { windowBytes: mebibyte } })
    const stalled = await request(feed.url)
    stalled.on('error', () => {}).pause()
    const readers = await Promise.all([request(feed.url), request(feed.url)])
    for (const reader of readers) reader.on('error', () => {}).resume()
    const passed = (bytes: number) =>
      until(
        () => flow.bytes >= bytes,
        () => `${flow.bytes} bytes`,
        200_000,
      )
    await passed(64 * mebibyte)
    const early = await usedMemory()
    await passed(1024 * mebibyte)
    const late = await usedMemory()
    // The window, the retention, and what is on its way to the clients at either moment.
    expect(late - early).to.be.below(8 * mebibyte)
    for (const client of [stalled, ...readers]) client.destroy()
  }).timeout(300_000)

  it('holds nothing of ten thousand streams that are over, after keepFor', async () => {
    const hub = createSseHub()
    const options: SharedStreamOptions = { resume: 'never', keepFor: 1 }
    async function* once() {
      yield Buffer.from(`data: ${'x'.repeat(1000)}\n\n`)
    }
    const run = async (count: number) => {
      for (let n = 0; n < count; n += 100) {
        const names = Array.from({ length: 100 }, (_, m) => `stream ${n + m}`)
        await Promise.all(names.map((name) => hub.start(name, () => bodyOf(once()), options)))
        // No event says that a log has expired.
        for (const name of names) while (await hub.status(name)) await sleep(1)
      }
    }
    // A log that is kept has its event of 1 kB.
    expect(await leastGrowth(4, () => run(2500))).to.be.below(2500 * 100)
    await hub.close()
  }).timeout(300_000)
})
