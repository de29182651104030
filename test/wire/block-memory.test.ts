import { expect } from 'chai'
import { BlockMemory } from '../../src/wire/block-memory.ts'
import { BlockScanner } from '../../src/wire/blocks.ts'
import { createRandom, wholeBetween } from '../support/flaky-upstream.ts'

describe('BlockMemory', () => {
  it('gives buffers of at least the size asked for', () => {
    const memory = new BlockMemory()
    for (const size of [0, 1, 4095, 4096, 4097, 65_536, 65_537, 262_144, 262_145, 1_000_000]) {
      const buffers = [memory.take(size), memory.take(size)]
      for (const buffer of buffers) expect(buffer.length).to.be.within(size, Math.max(2 * size, 1))
      expect(buffers[0]?.buffer === buffers[1]?.buffer && size >= 4096).to.equal(false)
      for (const buffer of buffers) memory.give(buffer)
    }
  })

  it('gives a buffer again once it was taken back, and not before', () => {
    const memory = new BlockMemory()
    const first = memory.take(10_000)
    expect(memory.take(10_000)).to.not.equal(first)
    memory.give(first)
    expect(memory.kept).to.equal(first.length)
    expect(memory.take(9000)).to.equal(first)
    expect(memory.kept).to.equal(0)
    expect(memory.take(9000)).to.not.equal(first)
  })

  it('keeps no more than 2 MiB, and none of the largest buffers', () => {
    const memory = new BlockMemory()
    for (const size of [5000, 200_000, 300_000]) {
      const buffers = Array.from({ length: 1000 }, () => memory.take(size))
      for (const buffer of buffers) memory.give(buffer)
      expect(memory.kept).to.be.at.most(2 * 1024 * 1024)
    }
    const other = new BlockMemory()
    other.give(other.take(300_000))
    other.give(other.take(100))
    expect(other.kept).to.equal(0)
  })
})

describe('the runs of scanners that share memory', () => {
  it('are unchanged until the next call of next()', () => {
    const random = createRandom(1)
    const streams = Array.from({ length: 20 }, (_, n) => {
      const events = Array.from({ length: 30 }, () => {
        const size = Math.floor(20 * 10_000 ** random())
        return `data: ${String.fromCharCode(97 + n).repeat(size)}\n\n`
      })
      return { scanner: new BlockScanner(1_000_000), bytes: Buffer.from(events.join('')), at: 0, text: '' }
    })
    /** The runs of one chunk of one stream, while a chunk of another stream arrives during each of them. */
    const read = (n: number, depth: number) => {
      const stream = streams[n]
      if (!stream || stream.at === stream.bytes.length) return
      const end = stream.at + wholeBetween(1, 50_000, random())
      stream.scanner.push(stream.bytes.subarray(stream.at, end))
      stream.at = Math.min(end, stream.bytes.length)
      for (let run = stream.scanner.next(); run !== undefined; run = stream.scanner.next()) {
        if (depth < 3) read((n + 7) % streams.length, depth + 1)
        stream.text += run.toString('latin1')
      }
    }
    while (streams.some(({ at, bytes }) => at < bytes.length)) {
      streams.forEach((_, n) => {
        read(n, 0)
      })
    }
    for (const { text, bytes } of streams) expect(text === bytes.toString('latin1')).to.equal(true)
  })
})
