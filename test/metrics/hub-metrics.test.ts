import diagnosticsChannel from 'node:diagnostics_channel'
import { expect } from 'chai'
import { httpUpstream, memoryStore } from '../../src/index.ts'
import { ask, get, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { idOf, serveHub } from '../support/hub.ts'
import { collected } from '../support/metrics.ts'
import { flood, serve, stays, stream } from '../support/server.ts'
import { wrapStore } from '../support/store.ts'
import { until } from '../support/until.ts'

describe('the metrics of shared streams', () => {
  it('counts shared streams by role and their clients, for each name, and starts each name at 0', async () => {
    await using metrics = await collected()
    const store = memoryStore()
    await using upstream = await serve(stays(wire(1)))
    const shared = { name: 'prices', from: 'start', hub: { store } } as const
    const none = {
      'sse_hub_streams{role="owner"}': 0,
      'sse_hub_streams{role="follower"}': 0,
      sse_hub_clients: 0,
      sse_hub_catching_up: 0,
      'sse_hub_gaps_total{reason="trimmed"}': 0,
      'sse_hub_gaps_total{reason="unknown-id"}': 0,
      sse_hub_slow_total: 0,
      sse_hub_cancelled_total: 0,
      sse_hub_takeovers_total: 0,
      sse_hub_fenced_total: 0,
      sse_store_errors_total: 0,
    }
    expect(await metrics.scrape()).to.include(none)
    {
      await using owner = await serveHub(upstream.url, shared)
      using first = ask(owner.url)
      await has(first, 'event 1')
      await using follower = await serveHub(upstream.url, shared)
      const clients = [ask(follower.url), ask(follower.url)]
      for (const client of clients) await has(client, 'event 1')
      await owner.hub.start('other', httpUpstream(upstream.url))
      expect(await metrics.scrape()).to.include({
        ...none,
        'sse_hub_streams{role="owner"}': 1,
        'sse_hub_streams{name="prices",role="owner"}': 1,
        'sse_hub_streams{name="prices",role="follower"}': 1,
        'sse_hub_clients{name="prices"}': 3,
        'sse_hub_catching_up{name="prices"}': 0,
        'sse_hub_gaps_total{name="prices",reason="trimmed"}': 0,
        'sse_hub_gaps_total{name="prices",reason="unknown-id"}': 0,
        'sse_hub_slow_total{name="prices"}': 0,
        'sse_hub_cancelled_total{name="prices"}': 0,
        // The upstream is one stream, however many clients there are.
        'sse_streams_open{name="prices"}': 1,
      })
      for (const client of clients) client.leave()
    }
    expect(await metrics.scrape()).to.include({
      ...none,
      'sse_hub_streams{name="prices",role="owner"}': 0,
      'sse_hub_streams{name="prices",role="follower"}': 0,
      'sse_hub_clients{name="prices"}': 0,
    })
  })

  it('counts the shared streams that this process has taken over, and those that it has lost', async () => {
    await using metrics = await collected()
    const store = memoryStore()
    await using upstream = await serve(stays(wire(1)))
    const shared = { name: 'prices', from: 'start', hub: { store } } as const
    await using one = await serveHub(upstream.url, shared)
    await using other = await serveHub(upstream.url, shared)
    using first = ask(one.url)
    await has(first, 'event 1')
    using second = ask(other.url)
    await has(second, 'event 1')
    const counted = {
      takeovers: 'sse_hub_takeovers_total{name="prices"}',
      fenced: 'sse_hub_fenced_total{name="prices"}',
    }
    expect(await metrics.scrape()).to.include({ [counted.takeovers]: 0, [counted.fenced]: 0 })
    await one.hub.close()
    while ((await metrics.scrape())[counted.takeovers] !== 1);
    await using third = await serveHub(upstream.url, shared)
    await third.hub.cancel('/events')
    while ((await metrics.scrape())[counted.fenced] !== 1);
    expect(await metrics.scrape()).to.include({ [counted.takeovers]: 1 })
  })

  it('measures the answers of a store that is not in the memory of the process, and counts its errors', async () => {
    await using metrics = await collected()
    let failing = true
    const store = wrapStore((memory) => ({
      open: (...args) => {
        const fails = failing
        failing = false
        return fails ? Promise.reject(new Error('away')) : memory.open(...args)
      },
    }))
    await using upstream = await serve(stays(wire(1)))
    await using feed = await serveHub(upstream.url, { from: 'start', hub: { store } })
    using client = ask(feed.url)
    await has(client, 'event 1')
    const scraped = await metrics.scrape()
    expect(scraped).to.include({
      sse_store_errors_total: 1,
      'sse_store_seconds_count{command="open"}': 2,
      'sse_store_seconds_count{command="append"}': 1,
    })
    expect(scraped['sse_store_seconds_sum{command="open"}']).to.be.above(0)
    expect(scraped['sse_store_seconds_count{command="read"}']).to.be.above(0)
  })

  it('counts the slow clients and the cancels of shared streams', async () => {
    await using metrics = await collected()
    await using upstream = await serve((_, response) => flood(response))
    await using feed = await serveHub(upstream.url, { name: 'prices', stallTimeout: 50 })
    const client = await get(feed.url)
    client.reads(false)
    await until(
      () => feed.summaries.length === 1,
      () => 'the slow client is disconnected',
    )
    await feed.hub.cancel('/events')
    expect(await metrics.scrape()).to.include({
      'sse_hub_slow_total{name="prices"}': 1,
      'sse_hub_cancelled_total{name="prices"}': 1,
      sse_hub_slow_total: 0,
    })
    client.leave()
  })

  it('counts the clients of shared streams that have not taken every event', async () => {
    await using metrics = await collected()
    await using upstream = await serve(
      stays(...Array.from({ length: 400 }, () => wire(1, 'x'.repeat(65_536)))),
    )
    await using feed = await serveHub(upstream.url, { from: 'start', dedupe: false, stallTimeout: 0 })
    const client = await get(feed.url)
    client.reads(false)
    while ((await metrics.scrape()).sse_hub_catching_up !== 1);
    client.reads(true)
    while ((await metrics.scrape()).sse_hub_catching_up !== 0);
    expect(await metrics.scrape()).to.include({ sse_hub_clients: 1 })
    client.leave()
  })

  it('counts the gaps of clients of shared streams by their reason', async () => {
    await using metrics = await collected()
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1))
    })
    await using feed = await serveHub(upstream.url, { retention: { events: 1 } })
    using first = ask(feed.url)
    await has(first, 'event 1')
    send(wire(2))
    await has(first, 'event 2')
    send(wire(3))
    await has(first, 'event 3')
    for (const lastEventId of [idOf(first, 'event 1'), 'unknown', 'unknown']) {
      using late = ask(feed.url, { 'last-event-id': lastEventId })
      await has(late, 'event 3')
    }
    expect(await metrics.scrape()).to.include({
      'sse_hub_gaps_total{reason="trimmed"}': 1,
      'sse_hub_gaps_total{reason="unknown-id"}': 2,
    })
  })

  it('ignores messages about hubs that other code publishes with other fields', async () => {
    await using metrics = await collected()
    const publish = (kind: string, message: unknown) =>
      diagnosticsChannel.channel(`resilient-sse:${kind}`).publish(message)
    for (const message of [
      5,
      {},
      { hub: 'a', figures: 5 },
      { hub: -1, figures: () => [5, { clients: 'x' }] },
    ])
      publish('hub-start', message)
    publish('hub-gap', { reason: 5 })
    publish('hub-open', { first: 0 })
    publish('hub-release', { reason: 5 })
    publish('hub-store-call', { command: 'other', duration: 1 })
    publish('hub-store-call', { command: 'open', duration: 'x' })
    publish('hub-end', { hub: 'a' })
    expect(await metrics.scrape()).to.include({
      sse_hub_clients: 0,
      'sse_hub_streams{role="owner"}': 0,
      'sse_hub_gaps_total{reason="trimmed"}': 0,
      sse_hub_takeovers_total: 0,
      sse_hub_fenced_total: 0,
    })
    expect(
      Object.keys(await metrics.scrape()).filter((series) => /store_seconds_count/.test(series)),
    ).to.deep.equal([])
  })
})
