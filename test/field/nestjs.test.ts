import 'reflect-metadata'
import { Controller, type MessageEvent, Module, Sse } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { ExpressAdapter } from '@nestjs/platform-express'
import { expect } from 'chai'
import { EventSource } from 'eventsource'
import { interval, map, type Observable } from 'rxjs'
import { manyRepeats } from '../../src/reconnect/announcer.ts'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'
import { type Settings, startGateway } from './support/gateway.ts'

/** The example of NestJS's documentation, at a quicker pace: ids are numbered from 1 on each connection, the data are equal. */
@Controller()
class EventsController {
  @Sse('events')
  events(): Observable<MessageEvent> {
    return interval(20).pipe(map(() => ({ data: { hello: 'world' } })))
  }
}

@Module({ controllers: [EventsController] })
class EventsModule {}

async function startNest() {
  const adapter = new ExpressAdapter()
  const app = await NestFactory.create(EventsModule, adapter, { logger: false })
  await app.init()
  const server = await serve(adapter.getInstance())
  return {
    server,
    async [Symbol.asyncDispose]() {
      await server.close()
      await app.close()
    },
  }
}

/** A client of it through the command, over as many kills of the connection to the upstream. */
async function watch(settings: Settings, kills: number) {
  await using upstream = await startNest()
  const { port, sockets, requests } = upstream.server
  const address = `http://127.0.0.1:${port}`
  await using gateway = await startGateway('the command', address, { baseDelay: 50, ...settings })
  const ids: string[] = []
  const source = new EventSource(`${gateway.url}/events`)
  source.onmessage = ({ lastEventId }) => ids.push(lastEventId)
  const gets = (count: number) =>
    until(
      () => ids.length >= count,
      () => `${count} events in ${ids}\n${gateway.log}`,
      20_000,
    )
  // After a kill, so many repeats come before the first fresh event that the warning is due: see `manyRepeats`.
  await gets(manyRepeats + 5)
  for (let n = 0; n < kills; n++) {
    const before = ids.length
    for (const socket of sockets) socket.destroy()
    await until(
      () => requests.length === n + 2,
      () => `request ${n + 2}`,
    )
    // More than came before the kill: those that look like repeats are behind.
    await gets(before + 1)
  }
  source.close()
  return { ids, warnings: gateway.log.split('\n').filter((line) => / level=warn /.test(line)) }
}

describe("NestJS's @Sse, through the command", () => {
  it('causes one warning when its ids count from 1 on each connection', async () => {
    const { ids, warnings } = await watch({}, 3)
    expect(ids).to.deep.equal(ids.map((_, n) => String(n + 1)))
    expect(warnings, warnings.join('\n')).to.have.length(1)
  })

  it('passes all events on with `dedupe` off', async () => {
    const { ids, warnings } = await watch({ dedupe: 'false' }, 1)
    expect(ids.filter((id) => id === '1')).to.have.length(2)
    expect(warnings).to.deep.equal([])
  })
})
