// The relay process: `relay.ts KIND UPSTREAM_URL [MEBIBYTES]`, started with an IPC channel and `--import tsx`.
//
// It serves on a free port of 127.0.0.1 and says which: `{ port }`. Every GET for the path of UPSTREAM_URL is answered
// with the event stream there (one kind passes the path on, the others do not look at it). The answer to `{ usage: true }`
// is `{ usage: { at, cpu, memory, peak } }`: milliseconds of the monotonic clock, process.cpuUsage(), process.memoryUsage(),
// and the greatest resident memory so far; with `{ usage: true, gc: true }` and `--expose-gc` after a collection. It ends when the channel does. An exception that nobody catches ends it, as it would a user's server.
// The library is the built one, in dist/. So many MEBIBYTES (0) are on its heap besides, as what an application holds would be.
import { once } from 'node:events'
import http from 'node:http'
import { now } from './answering.ts'
import { isKind, kindNames, kinds } from './relays/kinds.ts'

const [kind = '', upstream = '', mebibytes = '0'] = process.argv.slice(2)
if (!isKind(kind)) throw new Error(`no relay "${kind}"; there are: ${kindNames.join(', ')}`)
// Errors cost many times as much with them, and servers do without.
process.setSourceMapsEnabled(false)
const entriesOfMebibyte = 131_072
export const held = Array.from({ length: Number(mebibytes) * 4 }, (_, n) =>
  new Array<object>(entriesOfMebibyte / 4).fill({ n }),
)
const { default: makeRelay } = await kinds[kind].load()
const server = http.createServer(await makeRelay(new URL(upstream)))
// Thousands of clients come at once.
server.listen({ port: 0, host: '127.0.0.1', backlog: 16_384 })
await once(server, 'listening')

process.on('disconnect', () => process.exit())
process.on('message', (message) => {
  if (typeof message !== 'object' || message === null || !('usage' in message)) return
  if ('gc' in message) globalThis.gc?.()
  const peak = process.resourceUsage().maxRSS * 1024
  process.send?.({ usage: { at: now(), cpu: process.cpuUsage(), memory: process.memoryUsage(), peak } })
})
const address = server.address()
if (address !== null && typeof address === 'object') process.send?.({ port: address.port })
