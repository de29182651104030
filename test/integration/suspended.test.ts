import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import zlib from 'node:zlib'
import { expect } from 'chai'
import { library, startModule } from '../support/child.ts'
import { wire } from '../support/events.ts'
import { serve, settledBytes, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

/** The limits of the process that is suspended, and how long it is, in milliseconds. */
const limit = 2000
const absence = 2500

/** Reads streams, and asks for one more response when they have begun; says what becomes of each. */
const program = `
import { createResilientSseSource, httpUpstream } from ${JSON.stringify(library)}
const url = process.argv[1]
const factories = { http: (path) => httpUpstream(url + path), fetch: (path) => (context) => fetch(url + path, context) }
const open = (client, path, idleResetOn = 'bytes') => {
  const source = createResilientSseSource(factories[client](path), {
    objectMode: true, connectTimeout: ${limit}, idleTimeout: ${limit}, idleResetOn, reconnect: { maxRetries: 0 },
  })
  const name = [client, path, idleResetOn].join(' ')
  source.on('error', ({ message }) => console.log(name, message))
  source.on('data', ({ data }) => console.log(name, data))
  return new Promise((resolve) => source.once('data', resolve))
}
const clients = Object.keys(factories)
await Promise.all(clients.flatMap((client) => [
  open(client, '/plain'), open(client, '/gzip'), open(client, '/gzip', 'events'),
]))
for (const client of clients) open(client, '/late')
`

describe('a process that was suspended', () => {
  it('does not count its own suspension as silence of its upstreams', async () => {
    const late: ServerResponse[] = []
    const writers: ((text: string) => void)[] = []
    await using server = await serve((request, response) => {
      if (request.url === '/late') late.push(response)
      else if (request.url === '/plain') writers.push((text) => response.write(text))
      else {
        response.setHeader('content-encoding', 'gzip')
        const encoder = zlib.createGzip({ flush: zlib.constants.Z_SYNC_FLUSH })
        encoder.pipe(response)
        writers.push((text) => encoder.write(text))
      }
      if (request.url !== '/late') stream(response)
      if (request.url !== '/late') writers.at(-1)?.(wire(1, 'before'))
    })
    await using reader = await startModule(program, [server.url.replace('/events', '')])
    await until(
      () => late.length === 2,
      () => `the last requests: ${reader.out}`,
    )
    reader.child.kill('SIGSTOP')
    await sleep(absence)
    for (const write of writers) write(wire(2, 'x'.repeat(100_000)) + wire(3, 'after'))
    for (const response of late) stream(response, wire(1, 'after'))
    // Everything is in the sockets' buffers of the process before it goes on.
    for (const socket of server.sockets) await settledBytes(socket)
    reader.child.kill('SIGCONT')
    const lines = () => reader.out.split('\n').filter((line) => !/ (before|x+)$/.test(line))
    await until(
      () => lines().length > writers.length + late.length,
      () => lines().join('\n'),
    )
    const paths = ['/plain bytes', '/gzip bytes', '/gzip events', '/late bytes']
    const expected = ['http', 'fetch'].flatMap((client) => paths.map((path) => `${client} ${path} after`))
    expect(lines()).to.have.members([...expected, ''])
  })
})
