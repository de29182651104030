import diagnosticsChannel from 'node:diagnostics_channel'
import type { RequestListener } from 'node:http'
import { format, inspect } from 'node:util'
import { expect } from 'chai'
import debug from 'debug'
import { createLogger } from '../../src/cli/log.ts'
import { createResilientSseSource, httpUpstream, type SourceOptions } from '../../src/index.ts'
import { drain, fast, wire } from '../support/events.ts'
import { answers, resets, serve, serveInTurn, stays } from '../support/server.ts'

const kinds = ['open', 'drop', 'retry', 'gap', 'duplicate', 'repeats', 'end'] as const

/** Everything that can be seen of a stream's life: messages, log lines of all kinds, and its error. */
async function seenOf(url: string, options: SourceOptions): Promise<string> {
  const seen: string[] = []
  const write = (line: string) => seen.push(line)
  const [logfmt, json] = (['logfmt', 'json'] as const).map((format) =>
    createLogger({ format, level: 'debug', write }),
  )
  const see = (...args: [fields: object, message: string]) => {
    for (const logger of [logfmt, json]) logger?.info(...args)
    seen.push(inspect(args, { depth: 10 }))
  }
  const listener = (message: unknown) => {
    const { stream, ...rest } = Object(message)
    if (stream === source) seen.push(inspect(rest, { depth: 10 }))
  }
  const source = createResilientSseSource(httpUpstream(url), {
    reconnect: { ...fast, maxRetries: 2 },
    connectTimeout: 100,
    logger: { debug: see, info: see, warn: see, error: see },
    ...options,
  })
  for (const kind of kinds) diagnosticsChannel.subscribe(`resilient-sse:${kind}`, listener)
  const { error } = await drain(source)
  for (const kind of kinds) diagnosticsChannel.unsubscribe(`resilient-sse:${kind}`, listener)
  seen.push(inspect(error, { depth: 10, showHidden: true }))
  return seen.join('\n')
}

describe('credentials', () => {
  const debugged: string[] = []
  const { log } = debug
  let namespaces = ''
  before(() => {
    namespaces = debug.disable()
    debug.log = (...args: unknown[]) => debugged.push(format(...args))
    debug.enable('resilient-sse:*')
  })
  after(() => {
    debug.log = log
    debug.enable(namespaces)
  })

  const stories: Record<string, [RequestListener, ...RequestListener[]]> = {
    'a refusal': [answers(401, { 'www-authenticate': 'Basic' })],
    'drops, a gap, and exhausted retries': [resets('data: x\n\n'), resets('data: y\n\n'), answers(503)],
    'a page that is no event stream': [answers(200, { 'content-type': 'text/html' })],
    'an upstream that never answers': [() => {}],
    'a redirect to itself': [answers(302, { location: '/elsewhere' })],
    'an event that is too large': [stays('x'.repeat(2000))],
  }
  for (const [name, scripts] of Object.entries(stories)) {
    it(`of a URL, and its query, are in no message, log line or error: ${name}`, async () => {
      await using server = await serveInTurn(...scripts)
      const url = `${server.url.replace('//', '//user:secret@')}?token=secret#secret`
      debugged.length = 0
      const seen = await seenOf(url, { maxEventSize: 1000 })
      for (const text of [seen, debugged.join('\n')]) {
        expect(text).to.include(`${server.url}?token=*`)
        expect(text).not.to.match(/secret|dXNlcjpzZWNyZXQ/)
      }
      expect(server.requests[0]?.headers.authorization).to.equal('Basic dXNlcjpzZWNyZXQ=')
    })
  }

  for (const status of [301, 302, 303, 307, 308]) {
    it(`are sent to no other host by a ${status}: httpUpstream does not follow it, at first or on a reconnect`, async () => {
      await using other = await serve(stays(wire(2)))
      const redirect = answers(status, { location: other.url })
      const turns: [RequestListener, ...RequestListener[]][] = [[redirect], [resets(wire(1)), redirect]]
      for (const scripts of turns) {
        await using server = await serveInTurn(...scripts)
        const headers = { authorization: 'Bearer secret', cookie: 'a=secret' }
        const { error } = await drain(
          createResilientSseSource(httpUpstream(server.url, { headers }), { reconnect: fast }),
        )
        expect(error).to.include({ code: 'ERR_SSE_STATUS', statusCode: status })
      }
      expect(other.requests).to.deep.equal([])
    })
  }

  it('of the upstream, set as cookies with a refusal, are in no log field', async () => {
    await using server = await serve(answers(401, { 'set-cookie': 'session=secret' }))
    let seen = ''
    // What is enumerable of an error is what loggers write.
    const enumerable = (_: string, value: unknown) => (value instanceof Error ? { ...value } : value)
    const see = (fields: object) => {
      seen += inspect(fields, { depth: 10 }) + JSON.stringify(fields, enumerable)
    }
    const logger = { debug: see, info: see, warn: see, error: see }
    const { error } = await drain(createResilientSseSource(httpUpstream(server.url), { logger }))
    expect(error).to.have.nested.property('headers.set-cookie')
    expect(seen).to.include('"statusCode":401').and.not.include('secret')
  })

  it('of a wrong URL are not in the error of httpUpstream', () => {
    let error: unknown
    try {
      httpUpstream('http://user:secret@[bad/?token=secret')
    } catch (thrown) {
      error = thrown
    }
    expect(error).to.be.an.instanceOf(TypeError)
    expect(inspect(error, { showHidden: true })).not.to.include('secret')
  })
})
