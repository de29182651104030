import { expect } from 'chai'
import { EventSource } from 'eventsource'
import { createPubSub, createSchema, createYoga } from 'graphql-yoga'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'
import { kinds, startGateway } from './support/gateway.ts'

async function* of(...numbers: readonly number[]) {
  yield* numbers
}

/** Subscriptions: to numbers that the test publishes, and to three that there are. */
async function startYoga() {
  const numbers = createPubSub<{ number: [number] }>()
  const yoga = createYoga({
    logging: false,
    schema: createSchema({
      typeDefs: 'type Query { ok: Boolean } type Subscription { number: Int, ended: Int }',
      resolvers: {
        Subscription: {
          number: { subscribe: () => numbers.subscribe('number'), resolve: (number: number) => number },
          ended: { subscribe: () => of(1, 2, 3), resolve: (number: number) => number },
        },
      },
    }),
  })
  const server = await serve(yoga)
  return { server, numbers, [Symbol.asyncDispose]: server.close }
}

for (const kind of kinds) {
  describe(`a subscription of GraphQL Yoga, at ${kind}`, () => {
    it('outlives the connection to its server', async () => {
      await using upstream = await startYoga()
      const { port, sockets, requests } = upstream.server
      await using gateway = await startGateway(kind, `http://127.0.0.1:${port}`, { baseDelay: 50 })
      const query = new URLSearchParams({ query: 'subscription { number }' })
      const got: unknown[] = []
      let losses = 0
      const source = new EventSource(`${gateway.url}/graphql?${query}`)
      source.addEventListener('next', ({ data }) => got.push(JSON.parse(data).data.number))
      source.onerror = () => losses++
      // Yoga keeps no events: what is published while nobody listens is lost. So it is published until it arrives.
      const arrives = (number: number) =>
        until(
          () => {
            upstream.numbers.publish('number', number)
            return losses > 0 || got.includes(number)
          },
          () => `${number} in ${got}`,
        )
      await arrives(1)
      expect(requests).to.have.length(1)
      for (const socket of sockets) socket.destroy()
      await arrives(2)
      source.close()
      expect([...new Set(got)]).to.deep.equal([1, 2])
      expect(losses).to.equal(0)
      expect(requests).to.have.length(2)
    })
  })
}

describe('a subscription of GraphQL Yoga that ends, at the command', () => {
  it('is requested once, with its last event as `terminal`', async () => {
    await using upstream = await startYoga()
    const terminal = '{"event":"complete"}'
    const address = `http://127.0.0.1:${upstream.server.port}`
    await using gateway = await startGateway('the command', address, { terminal })
    const query = new URLSearchParams({ query: 'subscription { ended }' })
    const headers = { accept: 'text/event-stream' }
    const response = await fetch(`${gateway.url}/graphql?${query}`, { headers })
    const text = await response.text()
    expect(text.match(/(?<="ended":)\d/g)).to.deep.equal(['1', '2', '3'])
    expect(text).to.match(/^event: complete$/m)
    expect(upstream.server.requests).to.have.length(1)
  })
})
