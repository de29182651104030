import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { createSseHub, httpUpstream, memoryStore, type SseEvent, type StreamStore } from '../../src/index.ts'
import { ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, idOf, serveHub } from '../support/hub.ts'
import { isLeft, serve, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/** A store that answers no append of one hub while `holds` is true, although it carries the append out. */
function lateStore(store: StreamStore) {
  const state = { holds: false, release: () => {} }
  const late: StreamStore = {
    open: (...args) => store.open(...args),
    renew: (...args) => store.renew(...args),
    read: (...args) => store.read(...args),
    watch: () => () => {},
    async append(...args) {
      const answer = await store.append(...args)
      if (state.holds) {
        await new Promise<void>((resolve) => {
          state.release = resolve
        })
      }
      return answer
    },
  }
  return { late, state }
}

describe('a store that answers late', () => {
  it('has given an event to a client elsewhere: the owner knows the id of the event', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1))
    })
    const store = memoryStore()
    const { late, state } = lateStore(store)
    const options = { statusEvents: true, from: 'start' } as const
    await using owner = await serveHub(upstream.url, { hub: { store: late }, ...options })
    await using other = await serveHub(upstream.url, { hub: { store }, ...options })
    using first = ask(owner.url)
    await has(first, 'event 1')
    using elsewhere = ask(other.url)
    await has(elsewhere, 'event 1')
    state.holds = true
    send(wire(2))
    await has(elsewhere, 'event 2')
    using back = ask(owner.url, { 'last-event-id': idOf(elsewhere, 'event 2') })
    await until(
      () => back.status === 200,
      () => 'the head',
    )
    state.holds = false
    state.release()
    send(wire(3))
    await has(back, 'event 3')
    expect(dataIn(back)).to.deep.equal(['event 3'])
    await has(first, 'event 3')
    expect(dataIn(first)).to.deep.equal(['event 1', 'event 2', 'event 3'])
  })

  it('has given an event to a reader that was behind: the reader does not get it again', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1), wire(2))
    })
    const { late, state } = lateStore(memoryStore())
    // Without a window every reader that is behind reads from the store.
    const hub = createSseHub({ store: late, windowBytes: 0 })
    const factory = httpUpstream(upstream.url)
    const options = { from: 'start', objectMode: true, highWaterMark: 1 } as const
    const seen: (string | undefined)[] = []
    const first = hub.subscribe('feed', factory, options)
    first.on('data', (event: SseEvent) => seen.push(event.data))
    await until(
      () => seen.length === 2,
      () => `${seen}`,
    )
    state.holds = true
    send(wire(3))
    // Once a turn: no event says that the store has the entry.
    while (!(await hub.status('feed'))?.lastEventId.endsWith('/3')) await nextTurn()
    const behind: (string | undefined)[] = []
    const second = hub.subscribe('feed', factory, options)
    second.on('data', (event: SseEvent) => behind.push(event.data))
    await until(
      () => behind.length >= 2,
      () => `${behind}`,
    )
    state.holds = false
    state.release()
    send(wire(4))
    await until(
      () => behind.at(-1) === 'event 4',
      () => `${behind}`,
    )
    expect(behind).to.deep.equal(['event 1', 'event 2', 'event 3', 'event 4'])
    first.destroy()
    second.destroy()
    await hub.close()
  })

  it('does not keep a hub from closing whose last client leaves meanwhile', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(1))
    })
    const { late, state } = lateStore(memoryStore())
    await using feed = await serveHub(upstream.url, { hub: { store: late }, linger: 0 })
    const client = ask(feed.url)
    await has(client, 'event 1')
    state.holds = true
    send(wire(2))
    while (!(await feed.hub.status('/events'))?.lastEventId.endsWith('/2')) await nextTurn()
    // The hub closes the upstream, whose last event waits for the answer, and then its last client leaves.
    const closing = feed.hub.close()
    await client.ended
    await isLeft(upstream)
    state.release()
    await closing
    expect(dataIn(client)).to.deep.equal(['event 1'])
  })

  it('tells an owner that it was fenced when this process has opened the upstream again: the new run goes on', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      send = (text) => void response.write(text)
      stream(response, wire(upstream.requests.length))
    })
    const inner = memoryStore()
    let fence: (() => void) | undefined
    let isLost = false
    const store: StreamStore = {
      open: (...args) => inner.open(...args),
      read: (...args) => inner.read(...args),
      watch: (...args) => inner.watch(...args),
      async append(...args) {
        const answer = await inner.append(...args)
        if (!isLost || fence) return answer
        await new Promise<void>((resolve) => {
          fence = resolve
        })
        return 'fenced'
      },
      async renew(...args) {
        const answer = await inner.renew(...args)
        return isLost && upstream.requests.length === 1 ? { ...answer, held: false } : answer
      },
    }
    await using feed = await serveHub(upstream.url, { hub: { store, lease: 300 } })
    using client = ask(feed.url)
    await has(client, 'event 1')
    isLost = true
    send(wire(2))
    await until(
      () => fence !== undefined && upstream.requests.length === 2,
      () => 'the second run',
    )
    await has(client, 'event 2')
    fence?.()
    await nextTurn()
    send(wire(3))
    await has(client, 'event 3')
    expect(upstream.requests).to.have.length(2)
  })
})
