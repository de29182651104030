// The upstreams and the clients, in a process of their own, so that the relaying process has only the memory of relays.
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createRandom } from '../support/flaky-upstream.ts'
import { SoakClient } from './client.ts'
import type { WorldReport } from './report.ts'
import { DroppingUpstream } from './upstream.ts'

const { values } = parseArgs({
  options: {
    relay: { type: 'string', default: '' },
    clients: { type: 'string', default: '1' },
    streams: { type: 'string', default: '1' },
    shared: { type: 'boolean', default: false },
    rate: { type: 'string', default: '1' },
    life: { type: 'string', default: '1' },
    seed: { type: 'string', default: '0' },
    'lose-one': { type: 'boolean', default: false },
  },
})
const random = createRandom(Number(values.seed))
const upstream = new DroppingUpstream({
  streams: Number(values.streams),
  rate: Number(values.rate),
  life: Number(values.life),
  random,
  loseOne: values['lose-one'],
})
await upstream.open()
const clients = Array.from(
  { length: Number(values.clients) },
  (_, number) =>
    new SoakClient({
      url: `${values.relay}${upstream.addressOf(number % Number(values.streams))}`,
      random,
      meanEvents: 1000,
      isShared: values.shared,
    }),
)
for (const client of clients) void client.connect()
const reporting = setInterval(() => process.send?.(report(false)), 500)
// The relaying process sends 'hold' and 'go' around each sample, and 'finish' at the end. It may also have crashed.
await new Promise<void>((resolve) => {
  process.once('disconnect', resolve)
  process.on('message', (command) => {
    if (command === 'hold') upstream.hold()
    else upstream.go()
    for (const client of clients) client.staying = command === 'hold'
    if (command === 'finish') resolve()
  })
})
clearInterval(reporting)
const last = upstream.finish()
for (const client of clients) client.finishing = true
const unfinished = () => clients.filter(({ done }) => !done).length
const deadline = performance.now() + 120_000
// Sleeps instead of polling in every turn: the relaying process needs the CPU.
while (unfinished() > 0 && process.connected && performance.now() < deadline) await sleep(50)
process.send?.(report(true))
for (const client of clients) client.close()
await upstream.close()
if (process.connected) process.disconnect()

function report(final: boolean): WorldReport {
  const sum = (count: (client: SoakClient) => number) =>
    clients.reduce((total, client) => total + count(client), 0)
  return {
    final,
    delivered: sum(({ ledger }) => ledger.delivered),
    lost: sum(({ ledger }) => (final ? ledger.lost(last) : ledger.lost())),
    twice: sum(({ ledger }) => ledger.twice),
    outOfOrder: sum(({ ledger }) => ledger.outOfOrder),
    damaged: sum(({ ledger }) => ledger.damaged),
    vanished: sum(({ vanished }) => vanished),
    broken: sum(({ broken }) => broken),
    unfinished: final ? unfinished() : 0,
    ...upstream.drops,
  }
}
