import { expect } from 'chai'
import { memoryStore, type StreamStore } from '../../src/index.ts'
import { get, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, serveHub } from '../support/hub.ts'
import { flood, serve, settledBytes, stream } from '../support/server.ts'
import { faultyStore } from '../support/store.ts'
import { until } from '../support/until.ts'

describe('the owner of a shared stream', () => {
  it('does not read its own entries from a store in the same process', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      stream(response)
      send = (text) => void response.write(text)
    })
    let reads = 0
    const inner = memoryStore()
    const store: StreamStore = {
      open: (...call) => inner.open(...call),
      append: (...call) => inner.append(...call),
      renew: (...call) => inner.renew(...call),
      read: (...call) => {
        reads++
        return inner.read(...call)
      },
      watch: (...call) => inner.watch(...call),
    }
    await using feed = await serveHub(upstream.url, { hub: { store } })
    await using client = await get(feed.url)
    // The wake of the opening is still read.
    send(wire(1))
    await has(client, 'event 1')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const before = reads
    for (let n = 2; n <= 5; n++) {
      send(wire(n))
      await has(client, `event ${n}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(dataIn(client)).to.have.length(5)
    expect(reads).to.equal(before)
  })

  it('pauses the upstream while more than 1 MiB waits for the store, and goes on when the store answers', async () => {
    // More than all buffers between two loopback sockets hold.
    const bound = 16 * 1024 * 1024
    let isHeld = true
    await using upstream = await serve((request, response) => {
      flood(response)
      // Without the pause, the flood would take all memory.
      response.on('drain', () => isHeld && request.socket.bytesWritten > 2 * bound && response.destroy())
    })
    const store = faultyStore()
    store.fault = (call) => (call === 'append' ? 'hangs' : undefined)
    await using feed = await serveHub(upstream.url, { hub: { store, storeTimeout: 600_000 } })
    using client = await get(feed.url)
    await until(
      () => store.calls.includes('append'),
      () => 'an event that waits for the store',
    )
    const socket = upstream.requests[0]?.socket
    const before = await settledBytes(socket)
    expect(before).to.be.below(bound)
    expect(client.text).to.not.include('data:')
    isHeld = false
    store.fault = () => undefined
    store.wake()
    await until(
      () => (socket?.bytesWritten ?? 0) > before,
      () => 'the flood goes on',
    )
    await has(client, 'data:')
    expect(upstream.requests).to.have.length(1)
  })

  it('sends a burst of many pages once and in order', async () => {
    let send = (_: string) => {}
    await using upstream = await serve((_, response) => {
      stream(response)
      send = (text) => void response.write(text)
    })
    await using feed = await serveHub(upstream.url)
    await using client = await get(feed.url)
    const numbers = Array.from({ length: 5000 }, (_, index) => index + 1)
    send(numbers.map((n) => wire(n)).join(''))
    await has(client, 'event 5000')
    expect(dataIn(client)).to.deep.equal(numbers.map((n) => `event ${n}`))
  })
})
