import { setImmediate as nextTurn } from 'node:timers/promises'
import { until } from './until.ts'

const ours = ['TCPSocketWrap', 'TCPServerWrap', 'TCPConnectWrap', 'Timeout', 'Zlib', 'BrotliDecoder']
let before = new Map<string, number>()

function handles(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const type of process.getActiveResourcesInfo()) counts.set(type, (counts.get(type) ?? 0) + 1)
  return counts
}

/** Fails a test that leaves a socket, server, timer or decoder open. */
export const mochaHooks = {
  async beforeEach() {
    // After this turn mocha's own timer for the hook runs, as in afterEach, so both counts include that timer.
    await nextTurn()
    before = handles()
  },
  async afterEach() {
    await nextTurn()
    const left = () => {
      const now = handles()
      return ours.filter((type) => (now.get(type) ?? 0) > (before.get(type) ?? 0))
    }
    // Sockets close asynchronously; a socket that stays open is a leak.
    await until(
      () => left().length === 0,
      () => `handles left open: ${left().join(', ')}`,
      20_000,
    )
  },
}
