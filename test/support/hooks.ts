import { setImmediate as nextTurn } from 'node:timers/promises'
import { until } from './until.ts'

const ours = ['TCPSocketWrap', 'TCPServerWrap', 'TCPConnectWrap', 'Timeout', 'Zlib', 'BrotliDecoder']
let before = new Map<string, number>()

function handles(): Map<string, number> {
  const counts = new Map<string, number>()
  for (const type of process.getActiveResourcesInfo()) counts.set(type, (counts.get(type) ?? 0) + 1)
  return counts
}

/** Each test ends with no socket, server, timer or decoder that it opened. */
export const mochaHooks = {
  async beforeEach() {
    // From here on mocha's own timer for a hook runs, as it does in afterEach.
    await nextTurn()
    before = handles()
  },
  async afterEach() {
    await nextTurn()
    const left = () => {
      const now = handles()
      return ours.filter((type) => (now.get(type) ?? 0) > (before.get(type) ?? 0))
    }
    // Sockets close in their own time; what is still there after that is a leak.
    await until(
      () => left().length === 0,
      () => `handles left open: ${left().join(', ')}`,
      2000,
    )
  },
}
