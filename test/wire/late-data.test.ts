import { once } from 'node:events'
import { PassThrough, Readable, type Transform } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { createDedupe, createResilientSseSource, createSerializer } from '../../src/index.ts'
import { withoutLateData } from '../../src/wire/late-data.ts'
import { wire } from '../support/events.ts'

/** A Transform with more written than its buffers hold. */
function filled(transform: Transform): Transform {
  for (let n = 0; n < 100; n++) transform.write({ id: String(n), data: 'x'.repeat(5000) })
  return transform
}

const streams: Record<string, () => Readable> = {
  createSerializer: () => filled(createSerializer()),
  createDedupe: () => filled(createDedupe()),
  createResilientSseSource: () =>
    createResilientSseSource(() => Readable.from(Array.from({ length: 100 }, (_, n) => wire(n)))),
}

describe('a web stream made of', () => {
  for (const [name, make] of Object.entries(streams)) {
    // An error that nobody can catch fails the test, and would end a process.
    it(`${name} can be cancelled while chunks are buffered`, async () => {
      const stream = make().on('error', () => {})
      const reader = Readable.toWeb(stream).getReader()
      await reader.read()
      const reading = reader.read()
      await reader.cancel()
      await reading
      await nextTurn()
      expect(stream.destroyed).to.equal(true)
    })

    it(`${name} can be left by a for await loop`, async () => {
      for (const stop of [1, 2, 3, 5]) {
        const stream = make().on('error', () => {})
        let read = 0
        for await (const _ of Readable.toWeb(stream)) if (++read === stop) break
        await nextTurn()
        expect(stream.destroyed).to.equal(true)
      }
    })
  }
})

describe('withoutLateData', () => {
  it('lets a stream yield all data before it is destroyed, and no data afterwards', async () => {
    const stream = withoutLateData(new PassThrough())
    stream.write('abcdef')
    expect(String(stream.read(2))).to.equal('ab')
    expect(String(stream.read())).to.equal('cdef')
    stream.write('more')
    stream.destroy()
    expect(stream.read()).to.equal(null)
    await once(stream, 'close')
  })
})
