import { createChannel, createSession } from 'better-sse'
import { expect } from 'chai'
import { dataOf } from '../support/flaky-upstream.ts'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'
import { faultsOf, haveGot, openEventSource, openEventSourceClient } from './support/client.ts'
import { kinds, startGateway } from './support/gateway.ts'

/** The default is JSON, which has no line breaks; of a text with some better-sse makes no lines itself. */
const inLines = (data: unknown) => String(data).replaceAll('\n', '\ndata:')

/** A channel of numbered events; a session gets what it has missed before it joins. */
async function startChannel() {
  const channel = createChannel()
  let latest = 0
  const server = await serve(async (req, res) => {
    const session = await createSession(req, res, { serializer: inLines })
    for (let number = Number(session.lastId) + 1; number <= latest; number++) {
      session.push(dataOf(number), 'message', String(number))
    }
    channel.register(session)
  })
  return {
    server,
    channel,
    publish(count: number) {
      for (let n = 0; n < count; n++) {
        latest++
        channel.broadcast(dataOf(latest), 'message', { eventId: String(latest) })
      }
    },
    [Symbol.asyncDispose]: server.close,
  }
}

for (const kind of kinds) {
  describe(`a channel of better-sse, at ${kind}`, () => {
    it('reaches every client once, over a kill', async () => {
      await using upstream = await startChannel()
      const { port, sockets } = upstream.server
      await using gateway = await startGateway(kind, `http://127.0.0.1:${port}`, { baseDelay: 50 })
      using first = openEventSource(`${gateway.url}/events`)
      using second = openEventSourceClient(`${gateway.url}/events`)
      const clients = [first, second]
      upstream.publish(10)
      await haveGot(clients, 10)
      for (const socket of sockets) socket.destroy()
      upstream.publish(10)
      await until(
        () => upstream.channel.sessionCount === 2,
        () => 'two sessions',
      )
      upstream.publish(10)
      await haveGot(clients, 30)
      expect(faultsOf(clients, 30)).to.deep.equal([])
      // Each opened one connection, which has outlived the upstream's.
      expect(clients.map(({ signs }) => signs)).to.deep.equal([1, 1])
    })
  })
}
