import { expect } from 'chai'
import { type Link, remoteStore, serveStore } from '../../src/demo/live/store-link.ts'
import { memoryStore } from '../../src/index.ts'
import { storeTests } from '../../src/store-tests.ts'
import { wrapStore } from '../support/store.ts'

/** Two ends of a channel that passes bytes on in later turns, as one between processes does. */
function linked(): readonly [Link, Link] {
  const receivers: ((bytes: Uint8Array) => void)[] = []
  const end = (own: number, other: number): Link => ({
    send: (bytes) => void setImmediate(() => receivers[other]?.(bytes)),
    listen: (receive) => {
      receivers[own] = receive
    },
  })
  return [end(0, 1), end(1, 0)]
}

describe('the store that is in another process', () => {
  const open = async () => {
    const [here, there] = linked()
    const forget = serveStore(memoryStore(), there)
    return { store: remoteStore(here), close: async () => forget() }
  }
  for (const { title, run } of storeTests(open)) it(title, run)

  it('rejects a call that the store rejects', async () => {
    const [here, there] = linked()
    const broken = wrapStore(() => ({ read: async () => Promise.reject(new Error('the disk is full')) }))
    serveStore(broken, there)
    const failure = await remoteStore(here)
      .read('s', 'last', 1)
      .catch((error: unknown) => error)
    expect(failure).to.be.instanceOf(Error)
    expect(String(failure)).to.include('the disk is full')
  })

  it('watches nothing for a process that has ended', async () => {
    const [here, there] = linked()
    let watchers = 0
    const counting = wrapStore((store) => ({
      watch: (stream, wake) => {
        const unwatch = store.watch(stream, wake)
        watchers++
        return () => {
          watchers--
          unwatch()
        }
      },
    }))
    const forget = serveStore(counting, there)
    const store = remoteStore(here)
    store.watch('a', () => {})
    store.watch('b', () => {})
    await store.read('a', 'last', 1)
    expect(watchers).to.equal(2)
    forget()
    expect(watchers).to.equal(0)
  })
})
