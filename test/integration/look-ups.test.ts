import type { ServerResponse } from 'node:http'
import { expect } from 'chai'
import { createResilientSseSource, httpUpstream } from '../../src/index.ts'
import { fast } from '../support/events.ts'
import { resets, serveInTurn, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/** An event as no serializer of ours writes it, without an id. */
const raw = (n: number) => `data:${n}\n\n`
const written = (n: number) => `data: ${n}\n\n`
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n)
const all = (from: number, to: number, form: (n: number) => string) => range(from, to).map(form).join('')

describe('after a reconnect', () => {
  for (const [what, first] of Object.entries({
    'without ids': 'data:first\n\n',
    'of which one had an id': 'id:1\ndata:first\n\n',
  })) {
    it(`events ${what} are read until as many have come as the window holds, and then passed on unread`, async () => {
      let upstream: ServerResponse | undefined
      await using server = await serveInTurn(resets(first), (_, response) => {
        upstream = stream(response, all(0, 999, raw))
      })
      const source = createResilientSseSource(httpUpstream(server.url), { reconnect: fast })
      let text = ''
      source.on('data', (bytes) => {
        text += bytes
      })
      let expected = first
      const has = async (more: string) => {
        expected += more
        await until(
          () => text.length >= expected.length,
          () => `${text.length} of ${expected.length} bytes`,
        )
        expect(text).to.equal(expected)
      }
      await has(all(0, 999, written))
      upstream?.write(raw(999))
      await has(written(999))
      // The thousandth was the last one that was read.
      for (const n of range(1000, 1005)) {
        upstream?.write(raw(n))
        await has(raw(n))
      }
      source.destroy()
    })
  }
})
