import { PassThrough, Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { withQuickReads } from '../../src/wire/chunk-iterator.ts'

function iterate(stream: Readable): NodeJS.AsyncIterator<unknown> {
  return withQuickReads<unknown>(stream[Symbol.asyncIterator](), stream)
}

const objects = () => new PassThrough({ objectMode: true, highWaterMark: 100 })

describe('withQuickReads', () => {
  it('gives buffered chunks, waits for others, and ends', async () => {
    const stream = objects()
    for (const n of [1, 2, 3]) stream.write(n)
    const read: unknown[] = []
    const reading = (async () => {
      for await (const chunk of iterate(stream)) read.push(chunk)
    })()
    await nextTurn()
    expect(read).to.deep.equal([1, 2, 3])
    stream.write(4)
    await nextTurn()
    expect(read).to.deep.equal([1, 2, 3, 4])
    stream.end(5)
    await reading
    expect(read).to.deep.equal([1, 2, 3, 4, 5])
  })

  it('answers with a buffered chunk in the next turn of the microtask queue', async () => {
    const stream = objects()
    for (const n of [1, 2]) stream.write(n)
    const iterator = iterate(stream)
    await iterator.next()
    let second: unknown
    iterator.next().then((result) => {
      second = result
    })
    await null
    expect(second).to.deep.equal({ done: false, value: 2 })
  })

  it('answers requests in their order, also when a chunk arrives between them', async () => {
    const stream = objects()
    const iterator = iterate(stream)
    stream.write(1)
    await iterator.next()
    const second = iterator.next()
    stream.write(2)
    stream.write(3)
    const third = iterator.next()
    expect(await third).to.deep.equal({ done: false, value: 3 })
    expect(await second).to.deep.equal({ done: false, value: 2 })
    stream.end()
    expect(await iterator.next()).to.deep.equal({ done: true, value: undefined })
    expect(await iterator.next()).to.deep.equal({ done: true, value: undefined })
  })

  it('throws the error of the stream, once', async () => {
    const stream = objects()
    const iterator = iterate(stream)
    stream.write(1)
    await iterator.next()
    const next = iterator.next()
    const thrown = new Error('mine')
    stream.destroy(thrown)
    expect(await next.catch((error: unknown) => error)).to.equal(thrown)
    expect(await iterator.next()).to.deep.equal({ done: true, value: undefined })
  })

  for (const after of [1, 2]) {
    it(`destroys the stream when the loop is left after ${after} of 3 buffered chunks`, async () => {
      const stream = Readable.from([1, 2, 3])
      let read = 0
      for await (const _ of iterate(stream)) if (++read === after) break
      expect(stream.destroyed).to.equal(true)
    })
  }

  it('leaves a stream alone that it has not begun to read', async () => {
    const stream = objects()
    await iterate(stream).return?.()
    expect(stream.destroyed).to.equal(false)
    stream.destroy()
  })
})
