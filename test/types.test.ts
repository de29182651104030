import { Readable, type Transform } from 'node:stream'
import { expect } from 'chai'
import {
  type createDedupe,
  createResilientSseSource,
  createSseProxy,
  type DropMessage,
  type ProxyOptions,
  type ProxyRelayOptions,
  type ReconnectOptions,
  type RelayOptions,
  type ResilientSseSource,
  type SourceOptions,
  type SseEvent,
  type UpstreamFactory,
} from '../src/index.ts'

/** Compiles only when both types are the same. */
function same<A, B>(..._: [A] extends [B] ? ([B] extends [A] ? [] : [never]) : [never]): void {}

const factory: UpstreamFactory = () => Readable.from([])

describe('types', () => {
  it('infer the chunk type from objectMode', () => {
    const bytes = createResilientSseSource(factory)
    const alsoBytes = createResilientSseSource(factory, { objectMode: false })
    const events = createResilientSseSource(factory, { objectMode: true })
    const options: SourceOptions = {}
    const either = createResilientSseSource(factory, options)
    same<typeof bytes, ResilientSseSource<Buffer>>()
    same<typeof alsoBytes, ResilientSseSource<Buffer>>()
    same<typeof events, ResilientSseSource<SseEvent>>()
    same<typeof either, ResilientSseSource<Buffer | SseEvent>>()
    same<ReturnType<typeof events.read>, SseEvent | null>()
    // Compiled, not called: a source with a listener of data would run.
    ;async () => {
      const drop = (message: DropMessage) => message.reason
      events
        .on('data', (event) => same<typeof event, SseEvent>())
        .on('drop', drop)
        .once('comment', (text) => same<typeof text, string>())
        .off('drop', drop)
      for await (const event of events) same<typeof event, SseEvent>()
      for await (const chunk of bytes) same<typeof chunk, Buffer>()
    }
    expect(bytes).to.be.instanceOf(Readable)
    expect(events.readableObjectMode).to.equal(true)
  })

  it('fit the types of streams and fetch', () => {
    const fetched: UpstreamFactory = ({ headers, signal }) =>
      fetch('http://upstream.test/', { headers, signal })
    const generated: UpstreamFactory = async function* () {
      yield 'data: x\n\n'
    }
    same<ReturnType<typeof createDedupe>, Transform>()
    const stream: NodeJS.ReadableStream = createResilientSseSource(fetched, { objectMode: true })
    expect(stream).to.be.instanceOf(Readable)
    expect(generated).to.be.a('function')
  })

  it('accept the Response of the DOM types, whose body is not an async iterable', () => {
    interface DomStream {
      readonly locked: boolean
      cancel(reason?: unknown): Promise<void>
      getReader(): { read(): Promise<unknown> }
    }
    interface DomResponse {
      readonly status: number
      readonly headers: {
        get(name: string): string | null
        forEach(callback: (value: string, name: string, headers: object) => void): void
      }
      readonly body: DomStream | null
      readonly url: string
    }
    const open = (): Promise<DomResponse> => fetch('http://upstream.test/')
    const fitting: UpstreamFactory = open
    expect(fitting).to.equal(open)
  })

  it('of options come from their tables: optional, with undefined, and readonly', () => {
    same<RelayOptions['heartbeat'], number | undefined>()
    same<RelayOptions['resume'], 'always' | 'with-cursor' | 'before-first-event' | 'never' | undefined>()
    same<SourceOptions['isTerminal'], ((event: SseEvent) => boolean) | undefined>()
    same<SourceOptions['reconnect'], ReconnectOptions | undefined>()
    same<ProxyOptions['upstream'], string | URL>()
    same<ProxyOptions['headers'], Readonly<Record<string, string | readonly string[]>> | undefined>()
    same<Extract<keyof RelayOptions, 'objectMode' | 'tracker'>, never>()
    same<Extract<keyof ProxyRelayOptions, 'cursor' | 'lastEventId' | 'logger' | 'connectTimeout'>, never>()
    const options: RelayOptions = { heartbeat: undefined }
    // @ts-expect-error options are readonly
    options.heartbeat = 5
    // @ts-expect-error upstream is required
    expect(() => createSseProxy({})).to.throw(TypeError, 'upstream')
    expect(options).to.deep.equal({ heartbeat: 5 })
  })

  it('refuse options and members that do not exist', () => {
    // @ts-expect-error an unknown option
    expect(() => createResilientSseSource(factory, { retries: 3 })).to.throw(TypeError, 'retries')
    // @ts-expect-error an upstream must be one
    const wrong: UpstreamFactory = () => 42
    expect(wrong).to.be.a('function')
  })
})
