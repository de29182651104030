import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { createSerializer } from '../../src/wire/serializer.ts'

describe('createSerializer', () => {
  it('serializes events to the bytes of an event stream', async () => {
    const chunks: Uint8Array[] = []
    await pipeline(
      Readable.from([
        { id: '1', event: 'tick', data: 'a\nb' },
        { id: '2' },
        { data: '日本', lastEventId: '2' },
      ]),
      createSerializer(),
      async (bytes: AsyncIterable<Uint8Array>) => {
        for await (const chunk of bytes) chunks.push(chunk)
      },
    )
    expect(Buffer.concat(chunks).toString()).to.equal(
      'id: 1\nevent: tick\ndata: a\ndata: b\n\nid: 2\n\ndata: 日本\n\n',
    )
  })

  it('counts events on its writable side and bytes on its readable side', async () => {
    const serializer = createSerializer()
    expect(serializer.writableObjectMode).to.equal(true)
    expect(serializer.readableObjectMode).to.equal(false)
    serializer.write({ data: 'é' })
    await once(serializer, 'readable')
    expect(serializer.readableLength).to.equal('data: é\n\n'.length + 1)
  })

  const wrong: readonly [unknown, RegExp][] = [
    [{}, /an event needs data or an id/],
    [{ id: 'a\nb', data: 'x' }, /event\.id must not hold a line end or NUL: "a\\nb"/],
    [{ event: 'a\rb', data: 'x' }, /event\.event must not hold a line end: "a\\rb"/],
    [{ data: 7 }, /event\.data must be a string, got 7/],
    [{ data: null }, /event\.data must be a string, got null/],
    [7, /event/],
    ['data: x\n\n', /event/],
    [Buffer.from('data: x\n\n'), /event/],
    [[], /event/],
    [undefined, /^an event /],
  ]
  for (const [chunk, message] of wrong) {
    it(`fails with a TypeError for ${JSON.stringify(chunk) ?? 'undefined'}, after the earlier events`, async () => {
      const serializer = createSerializer()
      const read: string[] = []
      serializer.on('data', (bytes) => read.push(String(bytes)))
      serializer.write({ data: 'x' })
      const failed = once(serializer, 'error')
      serializer.write(chunk)
      const [error] = await failed
      expect(error).to.be.instanceOf(TypeError)
      expect(error).to.have.property('message').that.matches(message)
      expect(serializer.destroyed).to.equal(true)
      expect(read).to.deep.equal(['data: x\n\n'])
    })
  }

  it('yields the events of one turn as one chunk, and waits for no further turn', async () => {
    const serializer = createSerializer()
    const read: string[] = []
    serializer.on('data', (bytes) => read.push(String(bytes)))
    for (let turn = 0; turn < 3; turn++) {
      for (const part of ['a', 'b', 'c']) serializer.write({ data: `${part}${turn}` })
      await nextTurn()
      expect(read).to.have.length(turn + 1)
    }
    serializer.end({ data: 'last' })
    await once(serializer, 'end')
    expect(read).to.deep.equal([
      'data: a0\n\ndata: b0\n\ndata: c0\n\n',
      'data: a1\n\ndata: b1\n\ndata: c1\n\n',
      'data: a2\n\ndata: b2\n\ndata: c2\n\n',
      'data: last\n\n',
    ])
  })

  it('yields nothing more after it was destroyed', async () => {
    const serializer = createSerializer().on('data', () => expect.fail('data after the end'))
    serializer.write({ data: 'x' })
    serializer.destroy()
    await nextTurn()
  })

  it('rejects a pipeline with the same TypeError', async () => {
    const result = pipeline(Readable.from([{ data: 'x' }, {}]), createSerializer(), async (bytes) => {
      for await (const _ of bytes);
    })
    expect(await result.catch((error: unknown) => error)).to.be.instanceOf(TypeError)
  })

  it('applies backpressure while its output is not read', async () => {
    const serializer = createSerializer()
    const data = 'x'.repeat(1024)
    let written = 1
    while (serializer.write({ data })) written++
    expect(written).to.be.below(200)
    const drained = once(serializer, 'drain')
    let bytes = 0
    serializer.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    await drained
    serializer.end()
    await once(serializer, 'end')
    expect(bytes).to.equal(written * ('data: \n\n'.length + data.length))
  })
})
