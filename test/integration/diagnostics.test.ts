import diagnosticsChannel from 'node:diagnostics_channel'
import { expect } from 'chai'
import { createResilientSseSource, httpUpstream, type StreamMessage } from '../../src/index.ts'
import { library, runModule } from '../support/child.ts'
import { drain, fast, lastIs, wire } from '../support/events.ts'
import { answers, ends, resets, serveInTurn } from '../support/server.ts'

const kinds = ['start', 'open', 'drop', 'retry', 'gap', 'duplicate', 'end'] as const

describe('a message', () => {
  const scripts = () =>
    serveInTurn(resets('data: a\n\n'), answers(503), ends(wire(1)), ends(wire(1) + wire(2, 'end')))

  it('reaches the diagnostics channels in order, each message with the stream and its redacted URL', async () => {
    await using server = await scripts()
    const source = createResilientSseSource(httpUpstream(`${server.url}?key=secret`), {
      reconnect: fast,
      isTerminal: lastIs('end'),
      name: 'feed',
    })
    const seen: string[] = []
    const ids = new Set<number>()
    const subscriptions = kinds.map((kind) => {
      const listener = (message: unknown) => {
        const { id, stream, name, upstream }: StreamMessage = Object(message)
        if (stream !== source) return
        seen.push(kind)
        ids.add(id)
        expect([name, upstream]).to.deep.equal(['feed', `${server.url}?key=*`])
      }
      diagnosticsChannel.subscribe(`resilient-sse:${kind}`, listener)
      return () => diagnosticsChannel.unsubscribe(`resilient-sse:${kind}`, listener)
    })
    await drain(source)
    for (const unsubscribe of subscriptions) unsubscribe()
    expect(seen).to.deep.equal(
      'start open drop retry retry open gap drop retry open duplicate end'.split(' '),
    )
    expect(ids.size).to.equal(1)
  })

  it('reaches the logger: recoveries and retries as info, with attempt, delay and what set it', async () => {
    await using server = await scripts()
    const lines: [level: string, message: string, fields: object][] = []
    const log = (level: string) => (fields: object, message: string) => lines.push([level, message, fields])
    const logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
    const source = createResilientSseSource(httpUpstream(server.url), {
      reconnect: fast,
      isTerminal: lastIs('end'),
      name: 'feed',
      logger,
    })
    await drain(source)
    expect(lines.map(([level, message]) => `${level}: ${message}`)).to.deep.equal([
      'debug: stream started',
      'debug: upstream open',
      'debug: upstream dropped',
      'info: upstream retry',
      'info: upstream retry',
      'info: upstream open',
      'warn: events may be missing',
      'debug: upstream dropped',
      'info: upstream retry',
      'info: upstream open',
      'debug: duplicate dropped',
      'debug: stream over',
    ])
    expect(lines[3]?.[2]).to.include({
      name: 'feed',
      upstream: server.url,
      attempt: 0,
      delay: 1,
      source: 'backoff',
    })
    expect(lines[3]?.[2]).to.have.nested.property('err.code', 'ERR_SSE_DROPPED')
  })

  it('reaches the logger at level error for a failure', async () => {
    await using server = await serveInTurn(answers(404))
    const errors: object[] = []
    const nothing = () => {}
    const logger = {
      debug: nothing,
      info: nothing,
      warn: nothing,
      error: (fields: object) => errors.push(fields),
    }
    await drain(createResilientSseSource(httpUpstream(server.url), { logger }))
    expect(errors).to.have.length(1)
    expect(errors[0]).to.have.nested.property('err.statusCode', 404)
  })

  it('is printed with DEBUG=resilient-sse:*', async () => {
    await using server = await scripts()
    const script = `
      import { createResilientSseSource, httpUpstream } from '${library}'
      createResilientSseSource(httpUpstream(process.argv[1]), {
        reconnect: { baseDelay: 1 }, isTerminal: ({ data }) => data === 'end' }).resume()
    `
    const { err } = await runModule(script, [server.url], { DEBUG: 'resilient-sse:*' })
    for (const kind of kinds) expect(err).to.include(`resilient-sse:${kind} `)
  })
})
