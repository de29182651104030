import http from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { expect } from 'chai'
import { request, Response as UndiciResponse, fetch as undiciFetch } from 'undici'
import {
  createResilientSseSource,
  httpUpstream,
  type UpstreamContext,
  type UpstreamFactory,
} from '../../src/index.ts'
import { discardBody, openUpstream } from '../../src/upstream/shapes.ts'
import { dataOf, drain, fast, lastIs, wire } from '../support/events.ts'
import { ends, resets, serveInTurn } from '../support/server.ts'
import { until } from '../support/until.ts'

const options = { objectMode: true, reconnect: fast, isTerminal: lastIs('end') } as const

describe('upstream shapes', () => {
  type Open = (url: string, context: UpstreamContext) => ReturnType<UpstreamFactory>
  const shapes: Record<string, Open> = {
    "the platform's Response": (url, { headers, signal }) => fetch(url, { headers, signal }),
    "undici's Response": async (url, { headers, signal }) => undiciFetch(url, { headers, signal }),
    "undici's request() result": async (url, { headers, signal }) => request(url, { headers, signal }),
    'a node:http IncomingMessage': (url, { headers, signal }) =>
      new Promise((resolve, reject) => http.get(url, { headers, signal }, resolve).on('error', reject)),
    httpUpstream: (url, context) => httpUpstream(url)(context),
    'a Readable of bytes': async (url, { headers, signal }) => {
      const { body } = await fetch(url, { headers, signal })
      return body ? Readable.fromWeb(body) : Readable.from([])
    },
    'a ReadableStream': async (url, { headers, signal }) =>
      (await fetch(url, { headers, signal })).body ?? Readable.from([]),
    'an async iterable': async (url, { headers, signal }) => {
      const { body } = await fetch(url, { headers, signal })
      return (async function* () {
        if (body) yield* body
      })()
    },
  }
  for (const [name, open] of Object.entries(shapes)) {
    it(`${name} is read, is dropped, and resumes`, async () => {
      await using server = await serveInTurn(
        resets(wire(1), 'id: 2\ndata: ha'),
        ends(wire(2)),
        ends(wire(3, 'end')),
      )
      const source = createResilientSseSource((context) => open(server.url, context), options)
      expect(await dataOf(source)).to.deep.equal(['event 1', 'event 2', 'end'])
      expect(source.stats.drops).to.include({ reset: 1, end: 1 })
      expect(server.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal([
        undefined,
        '1',
        '2',
      ])
    })
  }

  it('a Readable of strings, and the web stream of another undici, are read', async () => {
    const foreign = Object.assign(Object.create(null), {})
    expect(foreign).to.not.be.instanceOf(Readable)
    for (const body of [Readable.from([wire(1), wire(2, 'end')]), new UndiciResponse(wire(2, 'end')).body]) {
      const source = createResilientSseSource(() => body ?? Readable.from([]), options)
      expect((await dataOf(source)).at(-1)).to.equal('end')
    }
  })

  it('a stream of another copy of node:stream is used itself, even if it cannot be iterated', () => {
    const foreign = { pipe() {}, on() {}, destroy() {} }
    // @ts-expect-error it has nothing else of a Readable
    expect(openUpstream(foreign).body).to.equal(foreign)
  })

  it('a locked web stream is refused, even if it cannot be iterated', () => {
    const locked = { locked: true, getReader: () => ({}), cancel: async () => {} }
    expect(() => openUpstream(locked)).to.throw(TypeError, 'a body without another reader, got a locked one')
  })

  it('a body that is discarded may fail late', async () => {
    const body = new Readable({ read() {}, destroy: (_, callback) => callback(new Error('late')) })
    discardBody(body)
    // Without a listener the error would be thrown in this process.
    await until(
      () => body.closed,
      () => 'it closes',
    )
    expect(body.errored).to.have.property('message', 'late')
  })

  it('a Response without a body is an empty stream', async () => {
    const bodies = [null, wire(1, 'end')]
    const source = createResilientSseSource(
      () => new Response(bodies.shift() ?? null, { headers: { 'content-type': 'text/event-stream' } }),
      options,
    )
    expect(await dataOf(source)).to.deep.equal(['end'])
  })

  it('a bare stream that has ended, failed or was destroyed before the factory returned it is a drop', async () => {
    const over = new PassThrough()
    over.resume().end()
    await until(
      () => over.readableEnded,
      () => 'the end',
    )
    const destroyed = new PassThrough()
    destroyed.destroy()
    const failed = new PassThrough()
    failed.on('error', () => {})
    failed.destroy(new Error('gone'))
    const bodies = [over, destroyed, failed, Readable.from([wire(1, 'end')])]
    const source = createResilientSseSource(() => bodies.shift() ?? Readable.from([]), options)
    const reasons: string[] = []
    source.on('drop', ({ reason }) => reasons.push(reason))
    expect(await dataOf(source)).to.deep.equal(['end'])
    expect(reasons).to.deep.equal(['end', 'reset', 'reset'])
  })

  for (const [name, body] of [
    ['a Readable', () => Readable.from([{ data: 'x' }])],
    [
      'an async iterable',
      async function* () {
        yield { data: 'x' }
      },
    ],
  ] as const) {
    it(`${name} that yields anything but bytes or text fails at once with a TypeError`, async () => {
      let calls = 0
      const factory = () => {
        calls++
        return body()
      }
      // @ts-expect-error what a caller without types may give
      const source = createResilientSseSource(factory, options)
      const { error } = await drain(source)
      expect(error).to.be.instanceOf(TypeError).with.property('message').that.includes('bytes or strings')
      expect(calls).to.equal(1)
    })
  }

  it('an async iterable is asked for one chunk more than a full reader takes', async () => {
    let asked = 0
    const source = createResilientSseSource(
      async function* () {
        for (;;) yield wire(++asked)
      },
      { ...options, highWaterMark: 1 },
    )
    source.once('readable', () => {})
    await until(
      () => source.readableLength === 1,
      () => 'the reader is full',
    )
    await new Promise(setImmediate)
    expect(asked).to.be.at.most(2)
    source.destroy()
  })

  it('a body that has ended but does not close does not delay the stream', async () => {
    const stuck = new Readable({
      read() {
        this.push(wire(1))
        this.push(null)
      },
      destroy() {
        // Never calls back.
      },
    })
    const bodies = [stuck, Readable.from([wire(2, 'end')])]
    const source = createResilientSseSource(() => bodies.shift() ?? Readable.from([]), options)
    expect(await dataOf(source)).to.deep.equal(['event 1', 'end'])
  })
})
