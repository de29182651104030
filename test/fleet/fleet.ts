import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Program, startNode } from '../support/child.ts'
import { type Client, readEvents, request } from '../support/client.ts'

/** A gateway process. */
interface Machine {
  readonly program: Program
  readonly port: number
  readonly url: string
}

/** Gateways behind one balancer, which gives each connection to the next of them that lives. */
export interface Fleet extends AsyncDisposable {
  readonly machines: readonly Machine[]
  /** The balancer's address. */
  readonly url: string
  /** The gateway that has the upstream of a stream. */
  owner(stream: string): Promise<Machine>
  /** The gateways that do not have it. */
  others(stream: string): Promise<Machine[]>
}

const script = fileURLToPath(new URL('gateway.ts', import.meta.url))

/** Waits as `until` does, but leaves the processor to the gateways. */
export async function eventually(
  condition: () => boolean,
  what: () => string,
  limit = 30_000,
): Promise<void> {
  const end = performance.now() + limit
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${limit} ms: ${what()}`)
    await sleep(5)
  }
}

/** Waits until a client has received a text. */
export function has(client: Client, part: string): Promise<void> {
  return eventually(
    () => client.text.includes(part),
    () => `${part} in ${client.status} ${client.text.slice(-200)}`,
  )
}

/** Starts gateways. The names of the environment are those that `gateway.ts` reads. */
export async function startFleet(size: number, env: NodeJS.ProcessEnv): Promise<Fleet> {
  const machines = await Promise.all(
    Array.from({ length: size }, async (): Promise<Machine> => {
      const program = await startNode(script, [], env)
      const port = () => Number(/port (\d+)/.exec(program.out)?.[1])
      await eventually(
        () => port() > 0,
        () => 'a gateway listens',
      )
      return { program, port: port(), url: `http://127.0.0.1:${port()}` }
    }),
  )
  const lives = ({ program: { child } }: Machine) => child.exitCode === null && child.signalCode === null
  let turn = 0
  const sockets = new Set<net.Socket>()
  const balancer = net.createServer((client) => {
    const living = machines.filter(lives)
    const machine = living[turn++ % living.length]
    if (!machine) {
      client.destroy()
      return
    }
    const gateway = net.connect(machine.port, '127.0.0.1')
    for (const [one, other] of [
      [client, gateway],
      [gateway, client],
    ] as const) {
      sockets.add(one)
      one
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(one)
          other.destroy()
        })
      one.pipe(other)
    }
  })
  balancer.listen(0, '127.0.0.1')
  await once(balancer, 'listening')
  const address = balancer.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const isOwner = async (machine: Machine, stream: string) => {
    const response = await fetch(`${machine.url}/status/${stream}`)
    const status: unknown = await response.json()
    return typeof status === 'object' && status !== null && 'isOwner' in status && status.isOwner === true
  }
  const owners = async (stream: string) => {
    const flags = await Promise.all(machines.map((each) => lives(each) && isOwner(each, stream)))
    return machines.map((machine, n) => ({ machine, owns: flags[n] === true }))
  }
  return {
    machines,
    url,
    async owner(stream) {
      const found = (await owners(stream)).find(({ owns }) => owns)
      if (!found) throw new Error(`no gateway owns ${stream}`)
      return found.machine
    },
    others: async (stream) =>
      (await owners(stream)).filter(({ owns }) => !owns).map(({ machine }) => machine),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      balancer.close()
      for (const { program } of machines) {
        program.child.kill('SIGCONT')
        await program[Symbol.asyncDispose]()
      }
    },
  }
}

/** A client that comes back with its last event ID whenever its connection ends, as an EventSource does. */
export interface Wanderer extends Disposable {
  /** The data of the events that have arrived, status events left out. */
  readonly data: readonly string[]
  readonly statuses: readonly number[]
  readonly lastEventId: string
  /** Whether it has got 204, or a status other than 200, and asks no more. */
  readonly isOver: boolean
  /** Resolves when the client has its first place in the stream. */
  placed(): Promise<void>
  has(data: string): Promise<void>
}

/** @param movesAt - After how many events the client leaves its connection on purpose. Default: never. */
export function wander(
  url: string,
  movesAt = Number.POSITIVE_INFINITY,
  fields: Readonly<Record<string, string>> = {},
): Wanderer {
  const data: string[] = []
  const statuses: number[] = []
  const leaving = new AbortController()
  let lastEventId = ''
  let isOver = false
  const visit = async () => {
    const headers = { accept: 'text/event-stream', 'cache-control': 'no-cache', ...fields }
    const body = await request(url, { headers, lastEventId, signal: leaving.signal })
    statuses.push(body.statusCode ?? 0)
    if (body.statusCode !== 200) {
      isOver = true
      body.resume()
      return
    }
    let events = 0
    await readEvents(body, (arrival) => {
      if ('id' in arrival && arrival.id !== undefined) lastEventId = arrival.id
      if (!('data' in arrival) || arrival.data === undefined || arrival.data.startsWith('{')) return
      data.push(arrival.data)
      if (++events >= movesAt) body.destroy()
    })
  }
  void (async () => {
    while (!isOver && !leaving.signal.aborted) {
      await visit().catch(() => {})
      // As long as a client's reconnection time, at least.
      if (!isOver) await sleep(5)
    }
  })()
  return {
    data,
    statuses,
    get lastEventId() {
      return lastEventId
    },
    get isOver() {
      return isOver
    },
    placed: () =>
      eventually(
        () => lastEventId !== '',
        () => 'a place',
      ),
    has: (text) =>
      eventually(
        () => data.includes(text),
        () => `${text} after ${data.slice(-3)} (${statuses.slice(-5)})`,
      ),
    [Symbol.dispose]: () => leaving.abort(),
  }
}
