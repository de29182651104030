import { pipeline } from 'node:stream/promises'
import {
  createResilientSseSource,
  createSerializer,
  httpUpstream,
  type RelayOptions,
  relaySse,
  type SseEvent,
} from '../../src/index.ts'
import { testBursts } from '../support/burst-tests.ts'
import type { BurstServer } from '../support/bursts.ts'
import { fast } from '../support/events.ts'
import { serve } from '../support/server.ts'

const reconnect = { ...fast, maxRetries: 100 }

async function* eachOf(events: AsyncIterable<SseEvent>): AsyncGenerator<SseEvent, void> {
  yield* events
}

const ways: Readonly<Record<string, RelayOptions>> = {
  'passed on unread': {},
  'read for isTerminal': { isTerminal: () => false },
  'through a function': { transform: (event: SseEvent) => event },
  'through a generator': { transform: eachOf },
}

describe('every byte of a burst through relaySse', () => {
  for (const [name, options] of Object.entries(ways)) {
    describe(name, () => {
      const open = async ({ url }: BurstServer) => {
        const server = await serve((req, res) => {
          void relaySse(req, res, httpUpstream(`${url}${req.url}`), { ...options, reconnect })
        })
        return { server, [Symbol.asyncDispose]: server.close }
      }
      testBursts({ open })
    })
  }
})

describe('every byte of a burst through a source', () => {
  const bytesOf = (url: string) => createResilientSseSource(httpUpstream(url), { reconnect })
  const eventsOf = (url: string) =>
    createResilientSseSource(httpUpstream(url), { reconnect, objectMode: true })

  describe('in byte mode', () => {
    testBursts({
      open: async ({ url }) => {
        const server = await serve((req, res) => {
          void pipeline(bytesOf(`${url}${req.url}`), res).catch(() => {})
        })
        return { server, [Symbol.asyncDispose]: server.close }
      },
    })
  })

  describe('in object mode, and through the serializer', () => {
    testBursts({
      open: async ({ url }) => {
        const server = await serve((req, res) => {
          void pipeline(eventsOf(`${url}${req.url}`), createSerializer(), res).catch(() => {})
        })
        return { server, [Symbol.asyncDispose]: server.close }
      },
    })
  })
})
