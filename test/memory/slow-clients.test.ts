import type { ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { httpUpstream, type RelayOptions, relaySse, type SseEvent } from '../../src/index.ts'
import { request } from '../support/client.ts'
import { usedMemory } from '../support/memory.ts'
import { serve, settledBytes, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const mebibyte = 1024 * 1024
const events = [100, 3000, 20_000, 90_000].map((size) => Buffer.from(`data: ${'x'.repeat(size)}\n\n`))

/** Sends events of all sizes as long as they are taken. */
function flood(response: ServerResponse): void {
  stream(response)
  let sent = 0
  const write = () => {
    while (!response.destroyed && response.write(events[sent++ % events.length]));
  }
  response.on('drain', write)
  write()
}

const stalled = 16
const slow = 4
const busy = 2
const ways: Readonly<Record<string, RelayOptions>> = {
  'passed on unread': {},
  'passed on as text': { transform: (event: SseEvent) => event },
}

describe('memory of a relay with clients that do not read, or read slowly, beside clients that do', () => {
  for (const [way, options] of Object.entries(ways)) {
    it(`does not grow with what the others get: ${way}`, async () => {
      await using upstream = await serve((_, response) => flood(response))
      const factory = httpUpstream(upstream.url, { agent: false })
      await using gateway = await serve((req, res) => void relaySse(req, res, factory, options))
      const before = await usedMemory()
      const open = (count: number) => Promise.all(Array.from({ length: count }, () => request(gateway.url)))
      const idle = await open(stalled)
      for (const { socket } of [...upstream.requests]) await settledBytes(socket)
      const [slowly, fast] = await Promise.all([open(slow), open(busy)])
      let bytes = 0
      for (const client of fast) {
        client.on('data', (chunk: Buffer) => {
          bytes += chunk.length
        })
      }
      let isOver = false
      const reading = (async () => {
        // Each client that is slow becomes full again and again.
        for (let turn = 0; !isOver; turn++) {
          if (turn % 20 === 0) for (const client of slowly) client.read()
          await nextTurn()
        }
      })()
      const passed = (least: number) =>
        until(
          () => bytes >= least,
          () => `${bytes} bytes`,
          200_000,
        )
      await passed(24 * mebibyte)
      const early = await usedMemory()
      await passed(160 * mebibyte)
      const late = await usedMemory()
      isOver = true
      await reading
      for (const client of [...idle, ...slowly, ...fast]) client.on('error', () => {}).destroy()
      // Both servers and the clients are in this process as well, each with buffers of its own.
      for (const used of [early, late]) expect(used - before).to.be.below((stalled + slow + busy) * mebibyte)
    }).timeout(300_000)
  }
})
