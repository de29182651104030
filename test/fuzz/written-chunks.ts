import { IncomingMessage, ServerResponse } from 'node:http'
import { expect } from 'chai'
import fc from 'fast-check'
import { ChunkedWriter } from '../../src/http/chunked-writer.ts'
import { MemorySocket } from '../support/memory-socket.ts'

const letters = Buffer.from(Array.from({ length: 400_000 }, (_, n) => 97 + ((n * n + (n >> 7) * 31) % 26)))

/** What is done with one of two responses, or with both. */
type Step =
  | {
      readonly do: 'write' | 'share' | 'documented'
      readonly to: 0 | 1
      readonly at: number
      readonly size: number
    }
  | { readonly do: 'flush' | 'stall' | 'read'; readonly to: 0 | 1 }
  | { readonly do: 'turn' }

const to = fc.constantFrom(0, 1)
const size = fc.oneof(
  { weight: 8, arbitrary: fc.nat(300) },
  { weight: 2, arbitrary: fc.nat(20_000) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(4095, 4096, 16_384, 16_385, 65_535, 65_536, 131_060, 131_061, 200_000),
  },
)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('write', 'share', 'documented'),
      to,
      at: fc.nat(200_000),
      size,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('flush', 'stall', 'read'), to }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('turn') }) },
)

function openResponse(): { res: ServerResponse; socket: MemorySocket } {
  const socket = new MemorySocket()
  const request = new IncomingMessage(socket)
  request.httpVersionMajor = 1
  request.httpVersionMinor = 1
  const res = new ServerResponse(request)
  res.assignSocket(socket)
  res.sendDate = false
  res.flushHeaders()
  return { res, socket }
}

/** As node:http writes it in a turn of its own. */
function writeAsDocumented(res: ServerResponse, bytes: Uint8Array): void {
  res.socket?.cork()
  res.write(bytes)
  res.socket?.uncork()
}

async function follow(steps: readonly Step[]): Promise<void> {
  const own = [openResponse(), openResponse()] as const
  const reference = [openResponse(), openResponse()] as const
  const writers = own.map(({ res }) => new ChunkedWriter(res, () => {}))
  for (const each of steps) {
    if (each.do === 'turn') await new Promise((resolve) => setImmediate(resolve))
    else if (each.do === 'flush') writers[each.to]?.flush()
    else if (each.do === 'stall') own[each.to].socket.isOpen = false
    else if (each.do === 'read') own[each.to].socket.open()
    else if ('size' in each) {
      const bytes = letters.subarray(each.at, each.at + each.size)
      // The writer may not keep the caller's bytes.
      const lent = Buffer.from(bytes)
      if (each.do === 'write') writers[each.to]?.write(lent)
      else if (each.do === 'documented') {
        writers[each.to]?.flush()
        writeAsDocumented(own[each.to].res, bytes)
      } else for (const writer of writers) writer.writeShared(lent)
      if (each.do === 'write') lent.fill(0)
      if (each.do !== 'share') writeAsDocumented(reference[each.to].res, bytes)
      else for (const { res } of reference) writeAsDocumented(res, bytes)
    }
  }
  for (const [n, { res, socket }] of own.entries()) {
    writers[n]?.flush()
    res.end()
    socket.open()
  }
  for (const { res } of reference) res.end()
  for (const [n, { socket }] of own.entries()) {
    // Not by `expect`, which would print both.
    expect(socket.text === reference[n]?.socket.text, 'the bytes are those of node:http').to.equal(true)
  }
}

/** The chunks that the package writes are those of node:http, whatever is written to another response meanwhile. */
export const writtenChunks = fc.asyncProperty(fc.array(step, { maxLength: 20 }), follow)
