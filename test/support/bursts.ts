import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import net, { type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AssertionError } from 'chai'
import { type Random, wholeBetween } from './flaky-upstream.ts'
import { portOf } from './server.ts'

/** Events with the ids 1, 2, 3, …, and the bytes of all of them. */
export interface Burst {
  readonly events: readonly Buffer[]
  readonly bytes: Buffer
}

const smallestEvent = 20
const largestEvent = 200_000
const largestPiece = 70_000
/** Different at each place, so that a part of another event is not taken for the part that belongs there. */
const letters = Buffer.from(
  Array.from({ length: largestEvent * 2 }, (_, n) => 97 + ((n * n + (n >> 7) * 31) % 26)),
)

/**
 * Makes events until they have at least `size` bytes together. As many of them are of 20 to 200 bytes as of 2 to 20 kB.
 *
 * @param largest - The most bytes of an event.
 */
export function burstOf(random: Random, size: number, largest = largestEvent): Burst {
  const events: Buffer[] = []
  for (let bytes = 0; bytes < size; bytes += events.at(-1)?.length ?? 0) {
    events.push(eventOf(events.length + 1, logarithmic(smallestEvent, largest, random), random))
  }
  return { events, bytes: Buffer.concat(events) }
}

function eventOf(id: number, size: number, random: Random): Buffer {
  const start = `id: ${id}\ndata: `
  const at = wholeBetween(0, largestEvent, random())
  const data = letters.subarray(at, at + Math.max(1, size - start.length - 2))
  return Buffer.concat([Buffer.from(start), data, Buffer.from('\n\n')])
}

/** A whole number of any order of magnitude. */
function logarithmic(least: number, most: number, random: Random): number {
  return Math.min(most, Math.floor(least * (most / least) ** random()))
}

/** Cuts bytes into pieces of 1 byte to 70 kB. */
function* cutAtRandom(bytes: Buffer, random: Random): Generator<Buffer, void, void> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + logarithmic(1, largestPiece, random)
    yield bytes.subarray(at, end)
    at = end
  }
}

/** The chunked coding of a body (RFC 9112, 7.1), without the last chunk. The chunks do not end where events end. */
export function chunkedAtRandom(body: Buffer, random: Random): Buffer {
  const chunks = Array.from(cutAtRandom(body, random), (piece) =>
    Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
  )
  return Buffer.concat(chunks)
}

/** How an upstream answers one request. */
export interface BurstAnswer {
  readonly burst: Burst
  readonly random: Random
  /** After so many bytes of the chunked body the connection ends. Default: the body is complete, and the connection stays open. */
  readonly dropAt?: number | undefined
}

/** An upstream that sends the events behind the request's last event ID, and answers 204 when there are none. */
export interface BurstServer extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** The number of connections so far. */
  readonly connections: number
}

/** @param answerTo - Called with the request's path, and with the number of earlier requests for that path. */
export async function serveBursts(answerTo: (path: string, n: number) => BurstAnswer): Promise<BurstServer> {
  const counts = new Map<string, number>()
  const sockets = new Set<Socket>()
  let connections = 0
  const server = net.createServer({ noDelay: true }, (socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    let text = ''
    socket.setEncoding('latin1').on('data', (part: string) => {
      text += part
      if (!text.endsWith('\r\n\r\n')) return
      const [, path = ''] = /^GET (\S+)/.exec(text) ?? []
      const [, after = '0'] = /\r\nlast-event-id: (\d+)/i.exec(text) ?? []
      text = ''
      const n = counts.get(path) ?? 0
      counts.set(path, n + 1)
      void sendAnswer(socket, answerTo(path, n), Number(after))
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const port = portOf(server)
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    get connections() {
      return connections
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

async function sendAnswer(
  socket: Socket,
  { burst, random, dropAt }: BurstAnswer,
  after: number,
): Promise<void> {
  const body = Buffer.concat(burst.events.slice(after))
  if (body.length === 0) {
    socket.write('HTTP/1.1 204 No Content\r\n\r\n')
    return
  }
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
  const chunks = chunkedAtRandom(body, random)
  const rest =
    dropAt === undefined ? Buffer.concat([chunks, Buffer.from('0\r\n\r\n')]) : chunks.subarray(0, dropAt)
  for (const piece of cutAtRandom(Buffer.concat([Buffer.from(head), rest]), random)) {
    if (socket.destroyed) return
    if (!socket.write(piece))
      await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => {})
    // Some pieces arrive together, and others alone.
    if (random() < 0.3) await nextTurn()
  }
  if (dropAt !== undefined) socket.end()
}

/** How a client reads. */
export interface Reads {
  /** The client begins to read when this resolves. */
  readonly from?: Promise<void>
  /** The client pauses now and then. */
  readonly pauses?: Random
}

/** Sends a GET, and returns the body, which must be complete. */
export async function bodyOf(url: string, agent: http.Agent, { from, pauses }: Reads = {}): Promise<Buffer> {
  const request = http.get(url, { agent })
  const [response]: IncomingMessage[] = await once(request, 'response')
  if (response?.statusCode !== 200) throw new Error(`a status ${response?.statusCode}`)
  await from
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    if (!pauses || pauses() > 0.3) return
    response.pause()
    void turns(wholeBetween(1, 20, pauses())).then(() => response.resume())
  })
  await once(response, 'end')
  if (!response.complete) throw new Error('the body is cut off')
  return Buffer.concat(chunks)
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn()
}

/** Compares every byte, and shows the first one that differs. */
export function expectSameBytes(actual: Buffer, expected: Buffer, who: string): void {
  if (actual.equals(expected)) return
  let at = 0
  while (at < expected.length && actual[at] === expected[at]) at++
  const around = (bytes: Buffer) => JSON.stringify(bytes.toString('latin1', Math.max(0, at - 20), at + 40))
  throw new AssertionError(
    `${who}: ${actual.length} of ${expected.length} bytes; from byte ${at} on ${around(actual)} instead of ${around(expected)}`,
  )
}
