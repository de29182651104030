// The relay process: `relay.ts KIND UPSTREAM_URL [MEBIBYTES] [PROTOCOL] [REDIS_URL]`, started with an IPC channel and `--import tsx`.
//
// It serves on a free port of 127.0.0.1, over `http`, `https` or `http2` (with TLS), and says which port: `{ port }`. Every
// GET for the path of UPSTREAM_URL is answered with the event stream there (one kind passes the path on, the others do not
// look at it). The answer to `{ usage: true }` is `{ usage: { at, cpu, memory, peak } }`: milliseconds of the monotonic
// clock, process.cpuUsage(), process.memoryUsage(), and the greatest resident memory so far; with `gc: 'regular'` or
// `gc: 'last-resort'` besides, and `--expose-gc`, after such a collection. The process exits when the channel closes, and at an
// uncaught exception, as a user's server would. It uses the library in dist/. MEBIBYTES (default 0) of objects are on its heap, as those of an application
// would be. For a kind that is not a Node program, this process starts the program and reports its use.
import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { certificate } from '../test/support/certificate.ts'
import { now } from './answering.ts'
import { isKind, kindNames, kinds } from './relays/kinds.ts'
import { RelayProgram } from './relays/program.ts'

const [name = '', upstream = '', mebibytes = '0', protocol = 'http', redis = ''] = process.argv.slice(2)
if (!isKind(name)) throw new Error(`no relay "${name}"; there are: ${kindNames.join(', ')}`)
const kind = kinds[name]
// Errors cost many times as much with them, and servers do without.
process.setSourceMapsEnabled(false)
const entriesOfMebibyte = 131_072
export const held = Array.from({ length: Number(mebibytes) * 4 }, (_, n) =>
  new Array<object>(entriesOfMebibyte / 4).fill({ n }),
)
process.on('disconnect', () => process.exit())
if ('program' in kind) {
  const { default: make } = await kind.program.load()
  const program = await RelayProgram.start(make, new URL(upstream))
  reportUsage(() => program.usage)
  process.send?.({ port: program.port })
} else {
  const { default: makeRelay } = await kind.load()
  const port = await listen(await makeRelay(new URL(upstream), redis))
  reportUsage(() => ({
    cpu: process.cpuUsage(),
    memory: process.memoryUsage(),
    peak: process.resourceUsage().maxRSS * 1024,
  }))
  process.send?.({ port })
}

async function listen(listener: RequestListener): Promise<number> {
  const server = protocol === 'http' ? http.createServer() : secureServer()
  server.on('request', listener)
  // Thousands of clients come at once.
  server.listen({ port: 0, host: '127.0.0.1', backlog: 16_384 })
  await once(server, 'listening')
  const address: AddressInfo | string | null = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

function secureServer() {
  return protocol === 'https' ? https.createServer(certificate) : http2.createSecureServer(certificate)
}

function reportUsage(usage: () => object): void {
  process.on('message', (message) => {
    if (typeof message !== 'object' || message === null || !('usage' in message)) return
    // V8 keeps the pages that a regular collection has emptied, and returns them in one of the last resort.
    if ('gc' in message && message.gc === 'last-resort') {
      globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    } else if ('gc' in message) globalThis.gc?.()
    process.send?.({ usage: { at: now(), ...usage() } })
  })
}
