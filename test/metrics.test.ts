import diagnosticsChannel from 'node:diagnostics_channel'
import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { Counter, Registry, register } from 'prom-client'
import { createDedupe, createResilientSseSource, httpUpstream, type SourceOptions } from '../src/index.ts'
import { collectMetrics } from '../src/metrics.ts'
import { runModule } from './support/child.ts'
import { drain, fast, lastIs, wire } from './support/events.ts'
import { collected } from './support/metrics.ts'
import { answers, ends, resets, serve, serveInTurn, stays, stream } from './support/server.ts'
import { until } from './support/until.ts'

const kinds = [
  ...['start', 'open', 'drop', 'retry', 'gap', 'duplicate', 'end'],
  ...['hub-start', 'hub-gap', 'hub-slow', 'hub-cancel', 'hub-end'],
  ...['hub-open', 'hub-release', 'hub-store-call', 'hub-store-error'],
]

/** A source over the upstream that does as the scripts say. */
async function run(scripts: Parameters<typeof serveInTurn>, options: SourceOptions = {}): Promise<void> {
  await using upstream = await serveInTurn(...scripts)
  const source = createResilientSseSource(httpUpstream(upstream.url), {
    reconnect: fast,
    isTerminal: lastIs('end'),
    ...options,
  })
  await drain(source)
}

describe('collectMetrics', () => {
  it('counts the attempts, drops and events of a stream', async () => {
    await using metrics = await collected()
    await run([
      resets('data: a\n\n'),
      answers(503),
      ends(wire(1)),
      ends(wire(1) + wire(2)),
      stays(wire(3, 'end')),
    ])
    const scraped = await metrics.scrape()
    expect(scraped).to.include({
      sse_upstream_attempts_total: 5,
      'sse_reconnects_total{reason="reset"}': 1,
      'sse_reconnects_total{reason="end"}': 2,
      'sse_reconnects_total{reason="idle-timeout"}': 0,
      sse_reconnect_failures_total: 1,
      'sse_retry_delay_seconds_count{source="backoff"}': 2,
      'sse_retry_delay_seconds_count{source="clean-end"}': 2,
      sse_events_total: 4,
      sse_events_deduplicated_total: 1,
      sse_gaps_total: 1,
      sse_upstream_connection_duration_seconds_count: 4,
      sse_streams_open: 0,
      'sse_streams_total{outcome="ended"}': 1,
      'sse_streams_total{outcome="failed"}': 0,
      'sse_streams_total{outcome="aborted"}': 0,
    })
    expect(Object.keys(scraped).filter((series) => !/^sse_/.test(series))).to.deep.equal([])
  })

  it('counts streams by their outcome', async () => {
    await using metrics = await collected()
    await run([stays(wire(1, 'end'))])
    await run([answers(204)])
    await run([answers(404)])
    await run([resets(wire(1))], { reconnect: { maxRetries: 0 } })
    await run([resets(wire(1))], { resume: 'before-first-event' })
    await using upstream = await serve(stays(wire(1)))
    const source = createResilientSseSource(httpUpstream(upstream.url))
    await once(source, 'readable')
    source.destroy()
    await once(source, 'close')
    expect(await metrics.scrape()).to.include({
      'sse_streams_total{outcome="ended"}': 2,
      'sse_streams_total{outcome="failed"}': 3,
      'sse_streams_total{outcome="aborted"}': 1,
      sse_streams_open: 0,
    })
  })

  it('counts streams of each name separately, and starts each name at 0', async () => {
    await using metrics = await collected()
    const scripts = () =>
      [resets('data: a\n\n'), answers(503), ends(wire(1)), ends(wire(1)), stays(wire(2, 'end'))] as const
    await run([...scripts()], { name: 'feed' })
    await run([stays(wire(1, 'end'))], { name: 'a "b"\\' })
    await using upstream = await serve(stays(wire(1)))
    const source = createResilientSseSource(httpUpstream(upstream.url), { name: 'feed' })
    await once(source, 'readable')
    const scraped = await metrics.scrape()
    source.destroy()
    expect(scraped).to.include({
      'sse_upstream_attempts_total{name="feed"}': 6,
      'sse_upstream_attempts_total{name="a \\"b\\"\\\\"}': 1,
      sse_upstream_attempts_total: 0,
      'sse_reconnects_total{name="feed",reason="reset"}': 1,
      'sse_reconnects_total{name="feed",reason="idle-timeout"}': 0,
      'sse_reconnect_failures_total{name="feed"}': 1,
      'sse_retry_delay_seconds_count{name="feed",source="backoff"}': 3,
      'sse_events_total{name="feed"}': 4,
      sse_events_total: 0,
      'sse_events_deduplicated_total{name="feed"}': 1,
      'sse_gaps_total{name="feed"}': 1,
      'sse_upstream_connection_duration_seconds_count{name="feed"}': 4,
      'sse_streams_open{name="feed"}': 1,
      sse_streams_open: 0,
      'sse_streams_total{name="feed",outcome="ended"}': 1,
      'sse_streams_total{name="feed",outcome="failed"}': 0,
    })
  })

  it('measures in seconds', async () => {
    await using metrics = await collected()
    const reconnect = { ...fast, baseDelay: 50, maxDelay: 50 }
    let duration = 0
    const add = (message: unknown) => {
      duration += Object(message).duration
    }
    for (const kind of ['drop', 'end']) diagnosticsChannel.subscribe(`resilient-sse:${kind}`, add)
    await run([resets(wire(1)), stays(wire(2)), stays(wire(3, 'end'))], { reconnect, idleTimeout: 100 })
    for (const kind of ['drop', 'end']) diagnosticsChannel.unsubscribe(`resilient-sse:${kind}`, add)
    const scraped = await metrics.scrape()
    expect(scraped).to.include({
      'sse_reconnects_total{reason="idle-timeout"}': 1,
      'sse_retry_delay_seconds_sum{source="backoff"}': 0.1,
      'sse_retry_delay_seconds_bucket{le="0.01",source="backoff"}': 0,
      'sse_retry_delay_seconds_bucket{le="0.1",source="backoff"}': 2,
      'sse_upstream_connection_duration_seconds_bucket{le="5"}': 3,
    })
    expect(scraped.sse_upstream_connection_duration_seconds_sum).to.be.closeTo(duration / 1000, 1e-9)
  })

  it("counts delays that the upstream's retry: and Retry-After set by their source", async () => {
    await using metrics = await collected()
    await run([
      resets(`retry: 2\n\n${wire(1)}`),
      answers(503, { 'retry-after-ms': '30' }),
      stays(wire(2, 'end')),
    ])
    expect(await metrics.scrape()).to.include({
      'sse_retry_delay_seconds_sum{source="retry"}': 0.002,
      'sse_retry_delay_seconds_sum{source="retry-after"}': 0.03,
    })
  })

  const failures: Record<
    string,
    { scripts: Parameters<typeof serveInTurn>; options?: SourceOptions; failed: number }
  > = {
    'exhausted retries': {
      scripts: [resets(wire(1)), answers(503)],
      options: { reconnect: { ...fast, maxRetries: 3 } },
      failed: 3,
    },
    'no retry at all': { scripts: [resets(wire(1))], options: { reconnect: { maxRetries: 0 } }, failed: 0 },
    'a refusal after a drop': { scripts: [resets(wire(1)), answers(404)], failed: 1 },
    'a first refusal': { scripts: [answers(404)], failed: 0 },
    'exhausted retries before the first open': {
      scripts: [answers(503)],
      options: { reconnect: { ...fast, maxRetries: 3 } },
      failed: 0,
    },
    'no answer before the first open': { scripts: [answers(503), stays(wire(1, 'end'))], failed: 0 },
    'a 204 after a drop': { scripts: [resets(wire(1)), answers(204)], failed: 0 },
    'a stream that must not go on': {
      scripts: [resets(wire(1))],
      options: { resume: 'before-first-event' },
      failed: 0,
    },
  }
  for (const [name, { scripts, options, failed }] of Object.entries(failures)) {
    it(`counts ${failed} failed reconnects for ${name}`, async () => {
      await using metrics = await collected()
      await run(scripts, options)
      expect(await metrics.scrape()).to.include({
        sse_reconnect_failures_total: failed,
        sse_streams_open: 0,
      })
    })
  }

  it('shows the events of a stream that neither drops nor ends', async () => {
    await using metrics = await collected()
    let write: (text: string) => void = () => {}
    await using upstream = await serve((_, response) => {
      stream(response, wire(1) + wire(2))
      write = (text) => response.write(text)
    })
    let events = 0
    const source = createResilientSseSource(httpUpstream(upstream.url), { objectMode: true })
    source.on('data', () => events++)
    const received = (count: number) =>
      until(
        () => events === count,
        () => `${events} events`,
      )
    await received(2)
    const series = { sse_upstream_attempts_total: 1, sse_streams_open: 1 }
    expect(await metrics.scrape()).to.include({ ...series, sse_events_total: 2 })
    write(wire(3))
    await received(3)
    expect(await metrics.scrape()).to.include({ ...series, sse_events_total: 3 })
    source.destroy()
    await once(source, 'close')
    expect(await metrics.scrape()).to.include({
      sse_events_total: 3,
      sse_streams_open: 0,
      sse_upstream_connection_duration_seconds_count: 1,
    })
  })

  it('counts the repeats that a Transform drops', async () => {
    await using metrics = await collected()
    const dedupe = createDedupe().resume()
    for (const id of ['1', '1', '2', '1']) dedupe.write({ id, data: 'a' })
    dedupe.end()
    await once(dedupe, 'end')
    expect(await metrics.scrape()).to.include({ sse_events_deduplicated_total: 2, sse_streams_open: 0 })
  })

  it('collects into several registries at once, each until it is stopped', async () => {
    await using one = await collected()
    await using other = await collected()
    await run([stays(wire(1, 'end'))])
    expect(await one.scrape()).to.include({ sse_events_total: 1, sse_upstream_attempts_total: 1 })
    expect(await other.scrape()).to.deep.include({ sse_events_total: 1, sse_upstream_attempts_total: 1 })
    one.stop()
    await run([stays(wire(1, 'end'))])
    expect(await other.scrape()).to.include({ sse_events_total: 2 })
    expect(await one.scrape()).to.deep.equal({})
  })

  it('leaves no subscription when stopped, and can start again', async () => {
    const subscribed = () =>
      kinds.filter((kind) => diagnosticsChannel.hasSubscribers(`resilient-sse:${kind}`))
    const registry = new Registry()
    const first = await collectMetrics({ registry })
    expect(subscribed()).to.deep.equal(kinds)
    first.stop()
    expect(subscribed()).to.deep.equal([])
    await using second = await collected(registry)
    first.stop()
    await run([stays(wire(1, 'end'))])
    expect(await second.scrape()).to.include({ sse_events_total: 1 })
  })

  it("uses prom-client's global registry unless told otherwise", async () => {
    const { registry, stop } = await collectMetrics()
    expect(registry).to.equal(register)
    expect(register.getSingleMetric('sse_streams_open')).to.be.an('object')
    stop()
    expect(register.getMetricsAsArray()).to.deep.equal([])
  })

  it('names a metric that the registry has already, and leaves the registry as it was', async () => {
    const registry = new Registry()
    const own = new Counter({ name: 'sse_gaps_total', help: 'own', registers: [registry] })
    const error = await collectMetrics({ registry }).catch((error: unknown) => error)
    expect(error).to.be.instanceOf(Error).with.property('message').that.includes('sse_gaps_total')
    expect(registry.getMetricsAsArray()).to.deep.equal([own])
    expect(diagnosticsChannel.hasSubscribers('resilient-sse:open')).to.equal(false)
  })

  for (const [options, message] of [
    [{ registery: new Registry() }, 'registery is not an option here: did you mean registry?'],
    [{ registry: {} }, 'registry must be a registry of prom-client, got [object Object]'],
    [5, 'options must be an object, got 5'],
  ] as const) {
    it(`refuses: ${message}`, async () => {
      // @ts-expect-error these options are wrong
      const error = await collectMetrics(options).catch((error: unknown) => error)
      expect(error).to.be.instanceOf(TypeError).with.property('message', message)
      expect(diagnosticsChannel.hasSubscribers('resilient-sse:open')).to.equal(false)
    })
  }

  it('keeps no reference to a stream that is over', async () => {
    await using metrics = await collected()
    await using upstream = await serveInTurn(resets(wire(1)), stays(wire(2, 'end')))
    const past: WeakRef<object>[] = []
    await (async () => {
      const source = createResilientSseSource(httpUpstream(upstream.url), {
        reconnect: fast,
        isTerminal: lastIs('end'),
      })
      past.push(new WeakRef(source))
      await drain(source)
    })()
    setFlagsFromString('--expose-gc')
    const collectGarbage: () => void = runInNewContext('gc')
    await until(
      () => {
        collectGarbage()
        return past[0]?.deref() === undefined
      },
      () => 'the source is collected',
    )
    expect(await metrics.scrape()).to.include({ sse_events_total: 2, sse_streams_open: 0 })
  })

  it('counts a stream as over even if its last message overtook another message', async () => {
    // Subscribed before the metrics: the stream's end is announced while they wait for its open.
    const destroy = (message: unknown) => Object(message).stream.destroy()
    diagnosticsChannel.subscribe('resilient-sse:open', destroy)
    await using metrics = await collected()
    await run([stays(wire(1))])
    diagnosticsChannel.unsubscribe('resilient-sse:open', destroy)
    expect(await metrics.scrape()).to.include({ sse_upstream_attempts_total: 1, sse_streams_open: 0 })
  })

  it('needs prom-client only when called, and names it when it is not installed', async () => {
    const hook = `export async function resolve(specifier, context, next) {
      if (specifier !== 'prom-client') return next(specifier, context)
      throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' })
    }`
    const metrics = new URL('../src/metrics.ts', import.meta.url).href
    const { code, out } = await runModule(
      `import { register } from 'node:module'
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}))
      const { collectMetrics } = await import('${metrics}')
      await collectMetrics().catch(({ message, cause }) => console.log(message, cause.code))`,
    )
    expect(code).to.equal(0)
    expect(out).to.match(/needs the package prom-client .*ERR_MODULE_NOT_FOUND/)
  })
})
