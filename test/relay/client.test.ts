import { once } from 'node:events'
import type http from 'node:http'
import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { httpUpstream, type RelayOptions, type RelaySummary, relaySse } from '../../src/index.ts'
import { ask, get, request } from '../support/client.ts'
import { fast, lastIs, wire } from '../support/events.ts'
import { relayTo, settled } from '../support/gateway.ts'
import { answers, flood, serve, settledBytes, stays, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

describe('relaySse', () => {
  describe('when the client disconnects', () => {
    const states: Record<
      string,
      { script: http.RequestListener; options: RelayOptions; reached(text: string): boolean }
    > = {
      dialling: {
        script: () => {},
        options: { head: 'eager', heartbeat: 5 },
        reached: (text) => text !== '',
      },
      waiting: {
        script: answers(503),
        options: { head: 'eager', heartbeat: 5, reconnect: { baseDelay: 60_000 } },
        reached: (text) => text !== '',
      },
      streaming: { script: stays(wire(1)), options: {}, reached: (text) => text.includes('event 1') },
    }
    for (const [state, { script, options, reached }] of Object.entries(states)) {
      // What would end them otherwise, a retry or a timeout, takes longer than anybody waits here.
      it(`while ${state}, the upstream is closed`, async () => {
        await using upstream = await serve(script)
        await using relay = await relayTo(upstream.url, options)
        const client = await get(relay.server.url)
        await until(
          () => reached(client.text),
          () => client.text,
        )
        client.leave()
        await until(
          () => relay.summaries.length === 1 && (state === 'waiting' || upstream.sockets.size === 0),
          () => 'the upstream closes',
        )
        expect(relay.summaries[0]).to.include({ outcome: 'client-gone', error: undefined })
      })
    }

    it('while backpressured, the upstream is closed', async () => {
      await using upstream = await serve((_, response) => flood(response))
      await using relay = await relayTo(upstream.url)
      const response = (await request(relay.server.url)).on('error', () => {})
      // Nobody reads the response: what its upstream sends stays bounded.
      const written = await settledBytes(upstream.requests[0]?.socket)
      expect(written).to.be.below(32 * 1024 * 1024)
      response.destroy()
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })

    it('while it does not read, the relay writes 64 KiB and one chunk more than the response has room for', async () => {
      await using upstream = await serve((_, response) => flood(response))
      let downstream: ServerResponse | undefined
      await using server = await serve((req, res) => {
        downstream = res
        relaySse(req, res, httpUpstream(upstream.url))
      })
      const response = (await request(server.url)).on('error', () => {})
      await until(
        () => (downstream?.writableLength ?? 0) >= 65_536,
        () => `${downstream?.writableLength} bytes wait for the client`,
      )
      await settledBytes(upstream.requests[0]?.socket)
      const mostOfAChunk = 65_536
      const room = downstream?.writableHighWaterMark ?? 0
      expect(downstream?.writableLength).to.be.most(room + 65_536 + mostOfAChunk)
      response.destroy()
      await until(
        () => upstream.sockets.size === 0,
        () => 'the upstream closes',
      )
    })

    it('while it does not read, other clients are unaffected', async () => {
      await using upstream = await serve((_, response) => flood(response))
      await using relay = await relayTo(upstream.url)
      const stalled = (await request(relay.server.url)).on('error', () => {})
      const client = await get(relay.server.url)
      await until(
        () => client.text.length > 5_000_000,
        () => `${client.text.length} characters`,
      )
      client.leave()
      stalled.destroy()
    })

    it('before the relay starts, the factory is not called', async () => {
      let calls = 0
      let summary: RelaySummary | undefined
      await using server = await serve(async (req, res) => {
        await once(res, 'close')
        summary = await relaySse(req, res, () => {
          calls++
          return (async function* () {})()
        })
      })
      const client = ask(server.url)
      await until(
        () => server.requests.length === 1,
        () => 'the request',
      )
      client.leave()
      await until(
        () => summary !== undefined,
        () => 'the summary',
      )
      expect(summary).to.include({ outcome: 'client-gone' })
      expect(calls).to.equal(0)
    })

    for (const onClientGone of ['abort', 'drain'] as const) {
      it(`with onClientGone: '${onClientGone}' and before the relay starts, the relay does not reject`, async () => {
        const ended: Promise<unknown>[] = []
        await using server = await serve((req, res) => {
          req.socket.once('close', () => {
            const factory = () => Promise.reject(new Error('away'))
            const reconnect = { ...fast, maxRetries: 1 }
            ended.push(relaySse(req, res, factory, { onClientGone, reconnect }))
          })
          req.socket.destroy()
        })
        ask(server.url)
        await until(
          () => ended.length === 1,
          () => 'a relay',
        )
        expect(await ended[0]).to.include({ outcome: 'client-gone' })
      })
    }

    it("with onClientGone: 'drain' the upstream is read to its end", async () => {
      let finish = () => {}
      await using upstream = await serve((_, response) => {
        stream(response, wire(1))
        finish = () => response.write(wire(2, 'end'))
      })
      await using relay = await relayTo(upstream.url, { onClientGone: 'drain', isTerminal: lastIs('end') })
      const client = await get(relay.server.url)
      await until(
        () => client.text !== '',
        () => 'an event',
      )
      client.leave()
      await until(
        () => relay.server.sockets.size === 0,
        () => 'the client is gone',
      )
      expect(relay.summaries).to.have.length(0)
      finish()
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'client-gone', lastEventId: '2' })
    })

    it("with onClientGone: 'drain' the upstream is read to its end, also after a client that did not read", async () => {
      let upstreamResponse: ServerResponse | undefined
      await using upstream = await serve((_, response) => {
        upstreamResponse = response
        flood(response)
      })
      await using relay = await relayTo(upstream.url, { onClientGone: 'drain', isTerminal: lastIs('end') })
      const response = (await request(relay.server.url)).on('error', () => {})
      const written = await settledBytes(upstream.requests[0]?.socket)
      response.destroy()
      await until(
        () => (upstream.requests[0]?.socket.bytesWritten ?? 0) > written + 2 ** 20,
        () => 'the upstream is read',
      )
      upstreamResponse?.removeAllListeners('drain').write(wire(2, 'end'))
      await settled(relay)
      expect(relay.summaries[0]).to.include({ outcome: 'client-gone', lastEventId: '2' })
    })
  })
})
