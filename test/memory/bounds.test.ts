import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { httpUpstream, relaySse } from '../../src/index.ts'
import { endless, fillTracker, keysOf, many, readEndless, readMany } from '../soak/bounds.ts'
import { request } from '../support/client.ts'
import { usedMemory } from '../support/memory.ts'
import { flood, serve, settledBytes } from '../support/server.ts'

const mebibyte = 1024 * 1024
/** What anything may cost besides: compiled code, and what other tests let go of late. */
const slack = mebibyte

describe('memory', () => {
  for (const kind of keysOf(endless)) {
    it(`of ${kind} is bounded by maxEventSize, and is freed after the failure`, async () => {
      const limit = 8 * mebibyte
      const { error, full, after } = await readEndless(kind, limit)
      expect(error).to.include({ code: 'ERR_SSE_EVENT_TOO_LARGE' })
      // At least what is held back, at most a buffer that has just doubled.
      expect(full).to.be.within(0.9 * limit - slack, 2 * limit + slack)
      expect(after).to.be.below(slack)
    })
  }

  for (const kind of keysOf(many)) {
    it(`does not grow with the number of ${kind}`, async () => {
      const count = 10_000
      const { early, late, bytes, opens } = await readMany(kind, count)
      expect(opens).to.equal(2)
      expect(bytes).to.be.above(count * many[kind](0).length)
      // One byte kept of each 1 KB id would be seen in the long run (npm run soak -- --bounds), 60 of them are here.
      expect(late - early).to.be.below(slack)
      // Fingerprints of 1000 events, and what a stream that is open takes.
      expect(late).to.be.below(1000 * 8 + slack)
    })
  }

  for (const windowSize of [1000, 200_000]) {
    it(`of a tracker is 8 bytes for each of ${windowSize} events, and more for look-ups only after a reconnect`, async () => {
      const { filled, reconnected, replaced, turnedOver } = await fillTracker(windowSize)
      const fingerprints = 8 * windowSize
      // An entry of a Map is two or three words, its number one object; a Map's room doubles.
      const entries = 64 * windowSize
      expect(filled).to.be.below(fingerprints + slack)
      expect(reconnected).to.be.below(fingerprints + entries + slack)
      // The window of before stays whole until the one behind it is.
      expect(replaced).to.be.below(fingerprints + 2 * entries + slack)
      expect(turnedOver).to.be.below(fingerprints + slack)
    })
  }

  it('of a relay whose client does not read is bounded', async () => {
    const clients = 10
    await using upstream = await serve((_, response) => flood(response))
    const factory = httpUpstream(upstream.url, { agent: false })
    const relayed: ServerResponse[] = []
    await using gateway = await serve((request, response) => {
      relayed.push(response)
      void relaySse(request, response, factory)
    })
    const before = await usedMemory()
    const responses = await Promise.all(Array.from({ length: clients }, () => request(gateway.url)))
    for (const { socket } of [...upstream.requests]) {
      // All that fits between two loopback sockets, and no flood.
      expect(await settledBytes(socket)).to.be.within(1000, 16 * mebibyte)
    }
    for (const response of relayed) expect(response.writableLength).to.be.below(mebibyte)
    // Both servers and the clients are in this process as well.
    expect((await usedMemory()) - before).to.be.below(clients * mebibyte)
    expect(responses).to.have.length(clients)
    for (const response of responses) response.destroy()
  })
})
