import { once } from 'node:events'
import { IncomingMessage, OutgoingMessage, ServerResponse } from 'node:http'
import net from 'node:net'
import { Duplex } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { ChunkedWriter } from '../../src/http/chunked-writer.ts'
import { isWriterProven } from '../../src/http/writer-check.ts'
import { MemorySocket } from '../support/memory-socket.ts'
import { serve } from '../support/server.ts'
import { until } from '../support/until.ts'

/** A response whose head is out. Its socket has forgotten the head. */
function responseOf(minor = 1): { res: ServerResponse; socket: MemorySocket } {
  const socket = new MemorySocket()
  const request = new IncomingMessage(socket)
  request.httpVersionMajor = 1
  request.httpVersionMinor = minor
  const res = new ServerResponse(request)
  res.assignSocket(socket)
  res.flushHeaders()
  socket.taken.length = 0
  socket.written.length = 0
  return { res, socket }
}

const framed = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const letters = (size: number, letter = 'x') => letter.repeat(size)

function writerTo(res: ServerResponse, onWrite: (hasRoom: boolean, size: number) => void = () => {}) {
  expect(ChunkedWriter.suits(res)).to.equal(true)
  return new ChunkedWriter(res, onWrite)
}

describe('the own chunks of a response', () => {
  it('are proven on this version of Node', () => {
    expect(isWriterProven()).to.equal(true)
  })

  const sizes = [1, 15, 16, 255, 256, 4095, 4096, 16_384, 16_385, 65_535, 65_536, 131_060, 131_061, 300_000]
  for (const size of sizes) {
    it(`are those of node:http for ${size} bytes, and between writes of node:http`, async () => {
      const own = responseOf()
      const reference = responseOf()
      const writer = writerTo(own.res)
      for (const text of [letters(size), 'event', letters(size, 'y')]) {
        writer.write(Buffer.from(text))
        writer.flush()
        own.res.write('between')
        for (const each of [text, 'between']) {
          reference.res.write(each)
          await nextTurn()
        }
      }
      for (const { res } of [own, reference]) res.end('last')
      expect(own.socket.text).to.equal(reference.socket.text)
    })
  }

  it('go into one write for each turn', async () => {
    const { res, socket } = responseOf()
    const writer = writerTo(res)
    for (const text of ['one', 'two', 'three']) writer.write(Buffer.from(text))
    expect(socket.written).to.have.length(0)
    await nextTurn()
    expect(socket.written).to.have.length(1)
    expect(socket.text).to.equal(framed('one') + framed('two') + framed('three'))
  })

  it('never mix those of two responses', async () => {
    const ends = [responseOf(), responseOf(), responseOf()]
    const writers = ends.map(({ res }) => writerTo(res))
    for (let n = 0; n < 300; n++) {
      for (const [at, writer] of writers.entries()) writer.write(Buffer.from(letters(700, `${at}`)))
    }
    await nextTurn()
    for (const [at, { socket }] of ends.entries()) {
      expect(socket.text).to.equal(framed(letters(700, `${at}`)).repeat(300))
    }
  })

  it('hold all text of a turn in one chunk, in its place among the bytes', async () => {
    const { res, socket } = responseOf()
    const writer = writerTo(res)
    for (const text of ['one ', 'zwölf ', '', '三 ']) writer.writeText(text)
    writer.write(Buffer.from('bytes'))
    for (const text of ['four ', '\u{1f600}']) writer.writeText(text)
    await nextTurn()
    expect(socket.text).to.equal(
      Buffer.from(framed('one zwölf 三 ') + framed('bytes') + framed('four \u{1f600}')).toString('latin1'),
    )
    expect(socket.written).to.have.length(2)
  })

  it('never mix text and bytes of many responses, however much text a turn brings', async () => {
    const ends = Array.from({ length: 12 }, responseOf)
    const writers = ends.map(({ res }) => writerTo(res))
    const expected = ends.map(() => '')
    for (let round = 0; round < 20; round++) {
      for (const [at, writer] of writers.entries()) {
        const socket = ends[at]?.socket
        // A third of the clients is slow, and reads now and then.
        if (socket && at % 3 === 0) socket.isOpen = false
        const mark = String.fromCharCode(65 + at)
        const part = letters(10_000 + 1000 * at, mark)
        if ((round + at) % 4 === 0) writer.write(Buffer.from(`${part}bytes`))
        else for (const end of ['', 'ä']) writer.writeText(letters(7000, mark) + end)
      }
      await nextTurn()
      for (const { socket } of ends) if (!socket.isOpen && round % 5 === 4) socket.open()
    }
    for (const [at, { socket }] of ends.entries()) {
      const mark = String.fromCharCode(65 + at)
      for (let round = 0; round < 20; round++) {
        const isBytes = (round + at) % 4 === 0
        const text = isBytes ? `${letters(10_000 + 1000 * at, mark)}bytes` : `${letters(14_000, mark)}ä`
        expected[at] += Buffer.from(framed(text)).toString('latin1')
      }
      expect(socket.text === expected[at], `client ${at}`).to.equal(true)
    }
  })

  it('skip empty writes, which would end the body', async () => {
    const { res, socket } = responseOf()
    const writer = writerTo(res)
    writer.write(Buffer.alloc(0))
    const nothing = Buffer.alloc(0)
    writer.writeShared(nothing)
    writer.writeShared(nothing)
    writer.writeText('')
    await nextTurn()
    expect(socket.written).to.have.length(0)
  })

  it('keep the bytes that a socket has not taken, whatever is written meanwhile', async () => {
    const [slow, fast] = [responseOf(), responseOf()]
    slow.socket.isOpen = false
    const [slowWriter, fastWriter] = [writerTo(slow.res), writerTo(fast.res)]
    let expected = ''
    for (let n = 0; n < 50; n++) {
      const text = letters(5000, String.fromCharCode(65 + (n % 26)))
      slowWriter.write(Buffer.from(text))
      expected += framed(text)
      await nextTurn()
      for (let more = 0; more < 5; more++) {
        fastWriter.write(Buffer.from(letters(5000, '-')))
        await nextTurn()
      }
    }
    slow.socket.open()
    expect(slow.socket.text).to.equal(expected)
    expect(fast.socket.text).to.equal(framed(letters(5000, '-')).repeat(250))
  })

  it('of a slow client are in memory of their own, except for the first', async () => {
    const { res, socket } = responseOf()
    socket.isOpen = false
    const writer = writerTo(res)
    for (let n = 0; n < 20; n++) {
      writer.write(Buffer.from(letters(5000)))
      await nextTurn()
    }
    socket.open()
    const chunks = socket.written.filter(({ length }) => length > 0)
    expect(chunks).to.have.length(20)
    for (const { buffer } of chunks.slice(1)) expect(buffer.byteLength).to.be.below(10_000)
  })

  it('use the same memory again for clients that read', async () => {
    const { res, socket } = responseOf()
    const writer = writerTo(res)
    for (let n = 0; n < 20; n++) {
      writer.write(Buffer.from(letters(50_000)))
      await nextTurn()
    }
    expect(new Set(socket.written.map(({ buffer }) => buffer)).size).to.be.below(3)
  })

  for (const size of [10_000, 30_000]) {
    it(`of ${size} shared bytes are made once for many responses`, async () => {
      const ends = [1, 2, 3].map(() => responseOf())
      const bytes = Buffer.from(letters(size))
      for (const { res } of ends) writerTo(res).writeShared(bytes)
      for (const { socket } of ends) expect(socket.text).to.equal(framed(letters(size)))
      const [, second, ...others] = ends.map(({ socket }) => socket.written[0])
      for (const other of others) expect(other).to.equal(second)
    })
  }

  it('of large shared bytes are one buffer for all responses that wait for room, in whatever turn they are written', async () => {
    const ends = [1, 2, 3].map(() => responseOf())
    const bytes = Buffer.from(letters(60_000))
    for (const { res, socket } of ends) {
      socket.isOpen = false
      writerTo(res).writeShared(bytes)
      await nextTurn()
    }
    for (const { socket } of ends) socket.open()
    const [first, ...others] = ends.map(({ socket }) => socket.written[0])
    expect(first).to.have.property('length', framed(letters(60_000)).length)
    for (const other of others) expect(other).to.equal(first)
  })

  it('tell whether the response has room, which it has again when the socket drains', async () => {
    const { res, socket } = responseOf()
    socket.isOpen = false
    const rooms: (readonly [boolean, number])[] = []
    const writer = writerTo(res, (hasRoom, size) => rooms.push([hasRoom, size]))
    writer.write(Buffer.from(letters(100)))
    writer.flush()
    writer.write(Buffer.from(letters(100_000)))
    expect(rooms).to.deep.equal([
      [true, 106],
      [false, 100_009],
    ])
    expect(res.writableLength).to.be.within(100_000, 101_000)
    const drained = once(socket, 'drain')
    socket.open()
    await drained
    expect(res.writableLength).to.equal(0)
  })

  it('make the response emit drain each time that its socket was full, whoever has filled it', async () => {
    const large = Buffer.from(letters(100_000))
    const requests: ServerResponse[] = []
    await using server = await serve((_, res) => {
      res.flushHeaders()
      requests.push(res)
    })
    const client = net.connect(server.port, '127.0.0.1').pause()
    client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    await until(
      () => requests.length === 1,
      () => 'the request arrives',
    )
    for (const res of requests) {
      const writer = writerTo(res)
      const own = () => writer.write(large)
      for (const fill of [own, own, () => res.write(large), own]) {
        client.pause()
        do fill()
        while (res.writableLength === 0)
        for (let more = 0; more < 3; more++) own()
        const drained = once(res, 'drain')
        client.resume()
        await drained
        expect(res.writableLength).to.equal(0)
      }
    }
    client.destroy()
  })

  it('are dropped when the client has disconnected', async () => {
    const { res, socket } = responseOf()
    const writer = writerTo(res)
    writer.write(Buffer.from('late'))
    res.destroy()
    await nextTurn()
    expect(socket.text).to.equal('')
  })
})

describe('a response that node:http must frame', () => {
  const unlike = (change: (res: ServerResponse, socket: MemorySocket) => void, minor = 1) => {
    const { res, socket } = responseOf(minor)
    expect(ChunkedWriter.suits(res)).to.equal(minor === 1)
    change(res, socket)
    return ChunkedWriter.suits(res)
  }
  const write = () => true

  it('has no head yet', () => {
    const res = new ServerResponse(new IncomingMessage(new MemorySocket()))
    res.assignSocket(new MemorySocket())
    expect(ChunkedWriter.suits(res)).to.equal(false)
  })
  it('is for a client of HTTP/1.0', () => {
    expect(unlike(() => {}, 0)).to.equal(false)
  })
  it('has a write or an end of its own', () => {
    expect(unlike((res) => Object.assign(res, { write }))).to.equal(false)
    expect(unlike((res) => Object.assign(res, { end: write }))).to.equal(false)
  })
  it('has a socket with a write of its own', () => {
    expect(unlike((_, socket) => Object.assign(socket, { write }))).to.equal(false)
  })
  it('has no socket, or one that is no socket of node:net', () => {
    expect(unlike((res, socket) => res.detachSocket(socket))).to.equal(false)
  })
  it('is corked', () => {
    expect(unlike((res) => res.cork())).to.equal(false)
  })
  it('has ended', () => {
    expect(unlike((res) => res.end())).to.equal(false)
  })
  it('is an object that inherits from a response', () => {
    expect(ChunkedWriter.suits(Object.create(responseOf().res))).to.equal(false)
  })
  it('is no response of node:http', () => {
    expect(ChunkedWriter.suits(new Duplex())).to.equal(false)
  })

  for (const { name, prototype } of [ServerResponse, OutgoingMessage]) {
    it(`has a ${name}.prototype.write that was replaced`, async () => {
      const { write: replaced } = prototype
      const own = Object.hasOwn(prototype, 'write')
      const seen: unknown[] = []
      const spy: (this: ServerResponse, chunk: unknown) => boolean = function (chunk) {
        seen.push(chunk)
        return replaced.call(this, chunk, 'utf8')
      }
      Object.assign(prototype, { write: spy })
      try {
        const { res } = responseOf()
        expect(ChunkedWriter.suits(res)).to.equal(false)
      } finally {
        if (own) Object.assign(prototype, { write: replaced })
        else Reflect.deleteProperty(prototype, 'write')
      }
      expect(ChunkedWriter.suits(responseOf().res)).to.equal(true)
    })
  }

  it('waits behind another one on its connection', async () => {
    const suits: boolean[] = []
    const responses: ServerResponse[] = []
    await using server = await serve((_, res) => {
      res.flushHeaders()
      suits.push(ChunkedWriter.suits(res))
      responses.push(res)
      if (responses.length === 2) for (const each of responses) each.end()
    })
    const socket = net.connect(server.port, '127.0.0.1').resume()
    const request = 'GET / HTTP/1.1\r\nhost: a\r\n'
    socket.write(`${request}\r\n${request}connection: close\r\n\r\n`)
    await once(socket, 'end')
    socket.destroy()
    expect(suits).to.deep.equal([true, false])
  })
})
