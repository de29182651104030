import { once } from 'node:events'
import type http from 'node:http'
import type { IncomingMessage } from 'node:http'
import type net from 'node:net'
import { expect } from 'chai'
import fc from 'fast-check'
import { makeAgent } from '../../src/http/direct-agent.ts'
import { directBodyOf } from '../../src/http/direct-socket.ts'
import { dial, serveRaw } from '../support/dialling.ts'
import { until } from '../support/until.ts'

/** Text in which each place looks different. */
const textOf = (length: number, seed = 0) => {
  let text = ''
  for (let n = seed; text.length < length; n++) text += `${n}.`
  return text.slice(0, length)
}
const headOf = (length: number | string) => `HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`

/** Writes parts, each of which is read by itself. */
async function writeInTurn(socket: net.Socket, parts: readonly string[]): Promise<void> {
  for (const part of parts) {
    await new Promise<void>((resolve) => socket.write(part, 'latin1', () => resolve()))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A body, read directly. Its reader spoils each part after its use, as a buffer that is used again. */
class Reading {
  text = ''
  end = ''
  readonly isDirect: boolean
  readonly response: IncomingMessage

  constructor(response: IncomingMessage) {
    this.response = response
    const body = directBodyOf(response)
    this.isDirect = body !== undefined
    body?.read(this)
    response.on('data', (chunk: Buffer) => {
      this.text += `node:${chunk.toString('latin1')}`
    })
    response.on('end', () => {
      this.end ||= 'end'
    })
    response.on('error', (error) => {
      this.end ||= 'code' in error ? String(error.code) : error.message
    })
    response.resume()
  }

  onBytes(bytes: Buffer): void {
    this.text += bytes.toString('latin1')
    bytes.fill('?')
  }

  async over(): Promise<string> {
    await until(
      () => this.end !== '',
      () => `the end, after ${this.text.length} bytes`,
    )
    return this.end
  }
}

describe('a body with a length that bypasses its response', () => {
  let agent: http.Agent
  beforeEach(() => {
    agent = makeAgent('http:', true)
  })
  afterEach(() => agent.destroy())

  /** Answers each request on a connection with the next parts. */
  const answering = (...answers: readonly (readonly string[])[]) =>
    serveRaw((socket) => {
      let n = 0
      const next = () => void writeInTurn(socket, answers[n++] ?? [])
      socket.on('data', next)
      next()
    })

  for (const [what, head, expected] of [
    ['of 10,000 bytes', headOf(10_000), true],
    ['of 9,999 bytes', headOf(9999), false],
    ['whose length begins with a zero', headOf('010000'), false],
    ['of an answer with another status', headOf(10_000).replace('200 OK', '206 Partial Content'), false],
    ['of HTTP/1.0', headOf(10_000).replace('1.1', '1.0'), false],
  ] as const) {
    it(`is ${expected ? '' : 'not '}that ${what}`, async () => {
      await using upstream = await answering([head])
      const response = await dial(upstream.url, { agent })
      expect(directBodyOf(response) !== undefined).to.equal(expected)
      response.on('error', () => {}).destroy()
    })
  }

  it('is not that of an answer to a HEAD, which has none', async () => {
    await using upstream = await answering([headOf(10_000)], [`${headOf(2)}ok`])
    const response = await dial(upstream.url, { agent, method: 'HEAD' })
    expect(directBodyOf(response)).to.equal(undefined)
    await once(response.resume(), 'end')
  })

  it('is whole wherever its reads end, and leaves the connection to the next request', async () => {
    const cases = fc.array(
      fc.tuple(fc.integer({ min: 10_000, max: 150_000 }), fc.array(fc.nat(150_000), { maxLength: 6 })),
      { minLength: 1, maxLength: 4 },
    )
    await fc.assert(
      fc.asyncProperty(cases, async (bodies) => {
        const answers = bodies.map(([length, places], seed) => {
          const bytes = headOf(length) + textOf(length, seed)
          const ends = [...places.map((place) => place % bytes.length), bytes.length].sort((a, b) => a - b)
          return ends.map((end, n) => bytes.slice(ends[n - 1] ?? 0, end))
        })
        await using upstream = await answering(...answers)
        const sockets = new Set<unknown>()
        for (const [seed, [length]] of bodies.entries()) {
          const reading = new Reading(await dial(upstream.url, { agent }))
          sockets.add(reading.response.socket)
          expect(await reading.over()).to.equal('end')
          expect(reading.text.replaceAll('node:', '') === textOf(length, seed)).to.equal(true)
        }
        expect(sockets.size).to.equal(1)
      }),
      { numRuns: 30 },
    )
  })

  it('takes no memory that other buffers use', async () => {
    const { poolSize } = Buffer
    // As on Node 24, where this is also the size of the memory for a first part.
    Buffer.poolSize = 65_536
    try {
      const text = textOf(40_000)
      const other = 'other'.repeat(40)
      const parts = (first: number) => [headOf(40_000) + text.slice(0, first), text.slice(first)] as const
      await using long = await answering(parts(30_000))
      const [begin, rest] = parts(100)
      let goOn = () => {}
      await using short = await serveRaw((socket) => {
        socket.write(begin)
        goOn = () => void socket.write(rest)
      })
      // Has the memory for a first part, so that there is none when the short one is read.
      const held = await dial(long.url, { agent })
      const others = Array.from({ length: 500 }, () => Buffer.from(other))
      const shortly = new Reading(await dial(short.url, { agent }))
      await until(
        () => shortly.text.length === 100,
        () => 'the first part',
      )
      for (let n = 0; n < 500; n++) others.push(Buffer.from(other))
      const longer = new Reading(await dial(long.url, { agent }))
      goOn()
      for (const reading of [shortly, longer]) {
        expect(await reading.over()).to.equal('end')
        expect(reading.text.replaceAll('node:', '') === text).to.equal(true)
      }
      held.on('error', () => {}).destroy()
      expect(others.filter((bytes) => bytes.toString() !== other)).to.have.lengthOf(0)
    } finally {
      Buffer.poolSize = poolSize
    }
  })

  it('does not reach the response', async () => {
    await using upstream = await answering([
      headOf(40_000),
      textOf(40_000).slice(0, 30_000),
      textOf(40_000).slice(30_000),
    ])
    const reading = new Reading(await dial(upstream.url, { agent }))
    expect(reading.isDirect).to.equal(true)
    expect(await reading.over()).to.equal('end')
    expect(reading.text === textOf(40_000)).to.equal(true)
  })

  it('is whole for who reads the response in the usual way', async () => {
    const text = textOf(100_000)
    await using upstream = await answering([headOf(100_000) + text])
    const response = await dial(upstream.url, { agent })
    let read = ''
    for await (const chunk of response) read += String(chunk)
    expect(read === text).to.equal(true)
  })

  for (const [how, cut] of [
    ['ended', (socket: net.Socket) => socket.end()],
    ['reset', (socket: net.Socket) => socket.resetAndDestroy()],
  ] as const) {
    for (const arrived of [0, 1, 9999, 50_000, 99_999]) {
      it(`is seen to be cut when its connection is ${how} after ${arrived} bytes`, async () => {
        const text = textOf(100_000).slice(0, arrived)
        let cutOff = () => {}
        await using upstream = await serveRaw((socket) => {
          socket.write(headOf(100_000) + text)
          cutOff = () => cut(socket)
        })
        const reading = new Reading(await dial(upstream.url, { agent }))
        await until(
          () => reading.text.length === arrived,
          () => `${reading.text.length} bytes`,
        )
        cutOff()
        expect(await reading.over()).to.equal('ECONNRESET')
        expect(reading.text === text).to.equal(true)
      })
    }
  }

  it('ends where it ends when more follows it, and its connection answers no further request', async () => {
    await using upstream = await answering([
      `${headOf(20_000)}${textOf(20_000)}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`,
    ])
    const reading = new Reading(await dial(upstream.url, { agent }))
    expect(await reading.over()).to.equal('end')
    expect(reading.text === textOf(20_000)).to.equal(true)
    await until(
      () => upstream.sockets.size === 0,
      () => 'the connection is open',
    )
  })

  it('waits while it is paused', async () => {
    const text = textOf(3_000_000)
    await using upstream = await answering([headOf(text.length) + text])
    const response = await dial(upstream.url, { agent })
    const body = directBodyOf(response)
    let [read, calls] = ['', 0]
    body?.read({
      onBytes(bytes) {
        read += bytes.toString('latin1')
        calls++
        expect(response.isPaused()).to.equal(false)
        response.pause()
        body.pause()
        setImmediate(() => {
          response.resume()
          body.resume()
        })
      },
    })
    await once(response.resume(), 'end')
    expect(read === text).to.equal(true)
    expect(calls).to.be.above(10)
  })
})
