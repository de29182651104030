import { once } from 'node:events'
import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import { createDedupe, createResilientSseSource, createSerializer, type SseEvent } from '../../src/index.ts'
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

const stages: Record<string, () => Transform> = { createSerializer, createDedupe }

describe('a Transform of events', () => {
  for (const [name, make] of Object.entries(stages)) {
    it(`${name} yields nothing after it was destroyed`, async () => {
      const stage = filled(make())
      expect(stage.read()).to.not.equal(null)
      stage.destroy()
      expect(stage.read()).to.equal(null)
      await once(stage, 'close')
    })

    it(`${name} takes an event within the write, and holds none back while it has room`, () => {
      const stage = make()
      expect(stage.write({ id: '1', data: 'x' })).to.equal(true)
      expect(stage.writableLength).to.equal(0)
    })

    it(`${name} calls back for each write that asks for it, in order`, async () => {
      const stage = make()
      const called: string[] = []
      stage.write({ id: '1', data: 'x' }, () => called.push('first'))
      stage.write({ id: '2', data: 'x' }, 'utf8', () => called.push('second'))
      stage.end({ id: '3', data: 'x' })
      for await (const _ of stage);
      expect(called).to.deep.equal(['first', 'second'])
    })

    it(`${name} holds what is written while it is corked`, () => {
      const stage = make()
      stage.cork()
      stage.write({ id: '1', data: 'x' })
      expect(stage.writableLength).to.equal(1)
      stage.uncork()
      expect(stage.writableLength).to.equal(0)
    })

    it(`${name} fails for an event after its end`, async () => {
      const stage = make().end()
      const failed = once(stage, 'error')
      stage.write({ id: '1', data: 'x' })
      const [error] = await failed
      expect(error).to.have.property('code', 'ERR_STREAM_WRITE_AFTER_END')
    })

    it(`${name} throws for null, as each stream of Node does`, () => {
      expect(() => make().write(null))
        .to.throw()
        .with.property('code', 'ERR_STREAM_NULL_VALUES')
    })

    it(`${name} keeps the order of events when it is full, in every way to read`, async () => {
      const expected = await meaningOf(make, async (stage) => {
        const chunks: unknown[] = []
        stage.on('data', (chunk) => chunks.push(chunk))
        await once(stage, 'end')
        return chunks
      })
      expect(expected).to.have.length(500)
      const iterated = await meaningOf(make, (stage) => stage.toArray())
      const read = await meaningOf(make, async (stage) => {
        const chunks: unknown[] = []
        stage.on('readable', () => {
          for (let chunk = stage.read(); chunk !== null; chunk = stage.read()) chunks.push(chunk)
        })
        await once(stage, 'end')
        return chunks
      })
      expect(iterated).to.deep.equal(expected)
      expect(read).to.deep.equal(expected)
    })
  }

  it('passes an event on once, and throws the error of a listener to the writer', () => {
    const passed: unknown[] = []
    const dedupe = createDedupe().on('data', (event) => {
      passed.push(event)
      throw new Error('mine')
    })
    expect(() => dedupe.write({ id: '1', data: 'x' })).to.throw('mine')
    expect(passed).to.deep.equal([{ id: '1', data: 'x' }])
  })

  it('brings the events of one chunk to the end of a pipeline in one part or two', async () => {
    const bytes = Buffer.from(Array.from({ length: 400 }, (_, n) => wire(n)).join(''))
    const source = createResilientSseSource(() => Readable.from([bytes]), {
      objectMode: true,
      resume: 'never',
    })
    const parts: string[] = []
    await pipeline(
      source,
      createDedupe(),
      async function* (events: AsyncIterable<SseEvent>) {
        for await (const event of events) yield event
      },
      createSerializer(),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) parts.push(String(chunk))
      },
    )
    expect(parts.join('')).to.equal(String(bytes))
    expect(parts).to.have.length.of.at.most(2)
  })

  it('lets a reader of a fixed size wait for more than it holds', async () => {
    const serializer = createSerializer()
    const size = 3 * serializer.readableHighWaterMark
    const writing = pipeline(Readable.from(Array.from({ length: 100 }, largeEvent)), serializer)
    let bytes: Buffer | null = null
    while (bytes === null) {
      await once(serializer, 'readable')
      bytes = serializer.read(size)
    }
    expect(bytes.length).to.equal(size)
    serializer.resume()
    await writing
  })
})

function largeEvent(_: unknown, n: number): SseEvent {
  return { id: String(n), data: 'x'.repeat(5000) }
}

/** The events that a stage yields for 500 events, some of which are large, as text or as events. */
async function meaningOf(
  make: () => Transform,
  read: (stage: Transform) => Promise<unknown[]>,
): Promise<string[]> {
  const stage = make()
  const events = Array.from({ length: 500 }, (_, n) => ({
    id: String(n),
    data: 'x'.repeat(n % 7 === 0 ? 9000 : 9),
  }))
  const reading = read(stage)
  await pipeline(Readable.from(events), stage)
  const text = (await reading).map((chunk) =>
    Buffer.isBuffer(chunk) ? String(chunk) : `${JSON.stringify(chunk)}\n\n`,
  )
  return text
    .join('')
    .split('\n\n')
    .filter((each) => each !== '')
}
