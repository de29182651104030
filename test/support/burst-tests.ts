import http from 'node:http'
import {
  type Burst,
  type BurstAnswer,
  type BurstServer,
  bodyOf,
  burstOf,
  chunkedAtRandom,
  expectSameBytes,
  type Reads,
  serveBursts,
} from './bursts.ts'
import { createRandom, type Random, wholeBetween } from './flaky-upstream.ts'
import { isStuck, type TestServer } from './server.ts'
import { until } from './until.ts'

/** A server that passes the stream of each path on. */
interface BurstGateway extends AsyncDisposable {
  readonly server: TestServer
}

interface BurstTests {
  /** Starts a gateway. Its options retry at least 20 times, within milliseconds. */
  readonly open: (upstream: BurstServer) => Promise<BurstGateway>
  /** How many clients ask for each path at the same time. Default 1. */
  readonly clients?: number
  /** What of the events the gateway passes on unchanged. Default: every byte. */
  readonly unchanged?: (bytes: Buffer) => Buffer
}

const numberIn = (path: string) => Number(path.slice(1))

/** One value for each path. */
function forEachPath<T>(make: (n: number) => T): (path: string) => T {
  const made = new Map<string, T>()
  return (path) => {
    const value = made.get(path) ?? make(numberIn(path))
    made.set(path, value)
    return value
  }
}

const burstOfSize = (size: number) => forEachPath((n) => burstOf(createRandom(n), size))
const randomOfPath = () => forEachPath((n) => createRandom(n + 1000))
const pathsTo = (last: number) => Array.from({ length: last }, (_, n) => `/${n + 1}`)

/** Tests that compare each byte that arrives at the clients of a gateway. */
export function testBursts({ open, clients = 1, unchanged = (bytes) => bytes }: BurstTests): void {
  interface Run {
    readonly burst: (path: string) => Burst
    readonly answerTo: (path: string, n: number) => BurstAnswer
    /** Each of them is for one connection of a client. */
    readonly paths: readonly (readonly string[])[]
    readonly reads?: (path: string, gateway: TestServer) => Reads
  }

  async function run({ burst, answerTo, paths, reads }: Run): Promise<void> {
    await using upstream = await serveBursts(answerTo)
    await using gateway = await open(upstream)
    const { server } = gateway
    const readInTurn = async (inTurn: readonly string[]) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (const path of inTurn) {
        const body = await bodyOf(`http://127.0.0.1:${server.port}${path}`, agent, reads?.(path, server))
        expectSameBytes(unchanged(body), unchanged(burst(path).bytes), path)
      }
      agent.destroy()
    }
    await Promise.all(paths.flatMap((each) => Array.from({ length: clients }, () => readInTurn(each))))
  }

  it('arrives, cut at random, over connections that are kept alive', async () => {
    const burst = burstOfSize(400_000)
    const random = randomOfPath()
    await run({
      burst,
      answerTo: (path) => ({ burst: burst(path), random: random(path) }),
      paths: [1, 2, 3, 4, 5].map((n) => [`/${n}0`, `/${n}1`, `/${n}2`]),
    })
  })

  it('arrives at clients that read slowly, or late', async () => {
    // The first burst is larger than the buffers of a connection on the loopback interface.
    const burst = forEachPath((n) => burstOf(createRandom(n), n === 1 ? 12_000_000 : 2_000_000))
    const random = randomOfPath()
    const paths = pathsTo(3).map((path) => [path])
    const reads = (path: string, { sockets }: TestServer): Reads => ({
      pauses: random(path),
      ...(path === '/1' && { from: areStuck(sockets, clients) }),
    })
    await run({ burst, answerTo: (path) => ({ burst: burst(path), random: random(path) }), paths, reads })
  })

  it('arrives once, with drops at every offset', async () => {
    const burst = burstOf(createRandom(7), 160, 50)
    const random = randomOfPath()
    // The framing differs from path to path.
    const { length } = chunkedAtRandom(burst.bytes, createRandom(0))
    const inTurn = 12
    const paths = Array.from({ length: inTurn }, (_, first) =>
      pathsTo(length).filter((_, n) => n % inTurn === first),
    )
    const answerTo = (path: string, n: number): BurstAnswer => ({
      burst,
      random: random(path),
      dropAt: n === 0 ? numberIn(path) : undefined,
    })
    await run({ burst: () => burst, answerTo, paths })
  })

  it('arrives once, with many drops within large events', async () => {
    const burst = burstOfSize(800_000)
    const random = randomOfPath()
    const offset = (chance: Random) => wholeBetween(0, 300_000, chance())
    await run({
      burst,
      answerTo: (path, n) => ({
        burst: burst(path),
        random: random(path),
        dropAt: n < 20 ? offset(random(path)) : undefined,
      }),
      paths: pathsTo(4).map((path) => [path]),
    })
  })
}

/** Resolves when bytes wait in so many sockets because their clients do not read. */
async function areStuck(sockets: TestServer['sockets'], least: number): Promise<void> {
  const waiting = () => [...sockets].filter(({ writableLength }) => writableLength > 0)
  for (let stuck = 0; stuck < least; ) {
    await until(
      () => waiting().length >= least,
      () => `${least} of ${sockets.size} connections are full`,
    )
    stuck = (await Promise.all(waiting().map(isStuck))).filter(Boolean).length
  }
}
