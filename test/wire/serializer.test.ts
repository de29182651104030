import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
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

  it('counts events on its writable side and bytes on its readable side', () => {
    const serializer = createSerializer()
    expect(serializer.writableObjectMode).to.equal(true)
    expect(serializer.readableObjectMode).to.equal(false)
    serializer.write({ data: 'é' })
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
      serializer.write({ data: 'x' })
      expect(String(serializer.read())).to.equal('data: x\n\n')
      const failed = once(serializer, 'error')
      serializer.write(chunk)
      const [error] = await failed
      expect(error).to.be.instanceOf(TypeError)
      expect(error).to.have.property('message').that.matches(message)
      expect(serializer.destroyed).to.equal(true)
    })
  }

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
