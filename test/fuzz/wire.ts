import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import { createResilientSseSource, createSerializer, type SseEvent, serializeEvent } from '../../src/index.ts'
import { drain } from '../support/events.ts'
import { chunksOf, cuts, type Item, itemsOf, itemsWithin, plain, streamBytes } from '../support/model.ts'
import { type BodyKind, bodyKinds, bodyOf, chunkAs, chunkTypes } from './bodies.ts'

/** Text with characters that have a meaning on the wire, and with lone surrogates. */
const text = fc.string({
  maxLength: 12,
  unit: fc.oneof(
    fc.constantFrom(
      '\n',
      '\r',
      '\r\n',
      ' ',
      ':',
      '\0',
      'a',
      'data',
      'id: 1',
      'é',
      '日',
      '😀',
      '\ufeff',
      '\u2028',
    ),
    fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
  ),
})
const idText = text.map((id) => id.replace(/[\r\n\0]/g, ''))
const typeText = text.map((type) => type.replace(/[\r\n]/g, ''))

/** Every event that can be serialized. */
const wireEvent: fc.Arbitrary<SseEvent> = fc.oneof(
  {
    arbitrary: fc.record({ data: text, id: idText, event: typeText }, { requiredKeys: ['data'] }),
    weight: 5,
  },
  { arbitrary: fc.record({ id: idText, event: typeText }, { requiredKeys: ['id'] }), weight: 1 },
)

/** An event as the receiver reads it: UTF-8 has no lone surrogates, and every line end becomes LF. */
function asArrived({ id, event, data }: SseEvent): SseEvent {
  const utf8 = (value: string) => Buffer.from(value).toString()
  return plain({
    id: id === undefined ? undefined : utf8(id),
    event: event === undefined || data === undefined ? undefined : utf8(event),
    data: data === undefined ? undefined : utf8(data).replace(/\r\n|\r|\n/g, '\n'),
  })
}

export const parseOfSerialize = fc.property(fc.array(wireEvent, { maxLength: 6 }), (events) => {
  const items: Item[] = events.map((event) => ({ block: asArrived(event) }))
  expect(itemsOf(Buffer.from(events.map(serializeEvent).join('')))).to.deep.equal(items)
})

const anyText = fc.option(text, { nil: undefined })

export const refusedBySerialize = fc.property(
  fc.record({ id: anyText, event: anyText, data: anyText }),
  (event) => {
    const { id, event: type, data } = event
    const fits =
      (id !== undefined || data !== undefined) && !/[\r\n\0]/.test(id ?? '') && !/[\r\n]/.test(type ?? '')
    if (fits) expect(itemsOf(Buffer.from(serializeEvent(event)))).to.deep.equal([{ block: asArrived(event) }])
    else expect(() => serializeEvent(event)).to.throw(TypeError)
  },
)

/** How bytes are passed to a source. */
interface Delivery {
  readonly at: 'everywhere' | readonly number[]
  readonly types: readonly ('buffer' | 'uint8array' | 'string')[]
  readonly kind: BodyKind
  readonly end: 'end' | 'reset'
}

const delivery: fc.Arbitrary<Delivery> = fc.record({
  at: cuts,
  types: fc.array(chunkTypes, { minLength: 1, maxLength: 3 }),
  kind: bodyKinds,
  end: fc.constantFrom('end', 'reset'),
})

function bodyWith(bytes: Uint8Array, { at, types, kind, end }: Delivery) {
  const chunks = chunksOf(bytes, at).map((chunk, n) => chunkAs(types[n % types.length] ?? 'buffer', chunk))
  return bodyOf(chunks, kind, end).stream
}

interface Settings {
  readonly maxEventSize: number
  readonly highWaterMark: number | undefined
  readonly comments: boolean
  readonly dedupe: boolean
  /** Whether the source has a `comment` listener. */
  readonly listens: boolean
}

const settings: fc.Arbitrary<Settings> = fc.record({
  maxEventSize: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constantFrom(2 ** 16, 2 ** 24)),
  highWaterMark: fc.constantFrom(undefined, undefined, 1, 64),
  comments: fc.constantFrom(true, true, false),
  dedupe: fc.constantFrom(true, true, false),
  listens: fc.boolean(),
})

const generous: Settings = {
  maxEventSize: 2 ** 24,
  highWaterMark: undefined,
  comments: true,
  dedupe: true,
  listens: false,
}

/** Reads the bytes over one connection, as events or as bytes, until the source fails. */
async function readOnce(bytes: Uint8Array, how: Delivery, settings: Settings, objectMode: boolean) {
  const { listens, ...options } = settings
  const comments: string[] = []
  const source = createResilientSseSource(() => bodyWith(bytes, how), {
    ...options,
    objectMode,
    reconnect: { maxRetries: 0 },
  })
  if (listens) source.on('comment', (comment) => comments.push(comment))
  const { chunks, error } = await drain(source)
  return { chunks, error, comments, lastEventId: source.lastEventId }
}

function expectEnd(error: unknown, tooLarge: boolean): void {
  if (tooLarge) expect(error).to.include({ name: 'SseError', code: 'ERR_SSE_EVENT_TOO_LARGE' })
  else expect(error).to.include({ name: 'SseError', code: 'ERR_SSE_RETRIES_EXHAUSTED' })
}

/** Expects that a client reads these items from the bytes, and that the bytes do not affect the next event. */
export function expectItems(out: Buffer, items: readonly Item[]): void {
  const next = Buffer.from('data: next\n\n')
  expect(itemsOf(Buffer.concat([out, next]))).to.deep.equal([...items, { block: { data: 'next' } }])
}

async function expectAsModel(bytes: Uint8Array, how: Delivery, settings: Settings): Promise<void> {
  const { items, tooLarge } = itemsWithin(bytes, settings.maxEventSize)
  const passedOn = items.filter((item) => !('reconnectionTime' in item))
  const comments = passedOn.flatMap((item) => ('comment' in item ? [item.comment] : []))
  const blocks = passedOn.flatMap((item) => ('block' in item ? [item.block] : []))
  const lastEventId = blocks.findLast(({ id }) => id !== undefined)?.id ?? ''

  const events = await readOnce(bytes, how, settings, true)
  expectEnd(events.error, tooLarge)
  expect(events.chunks.map((chunk) => (Buffer.isBuffer(chunk) ? chunk : plain(chunk)))).to.deep.equal(blocks)
  expect(events.comments).to.deep.equal(settings.listens ? comments : [])
  expect(events.lastEventId).to.equal(lastEventId)

  const out = await readOnce(bytes, how, settings, false)
  expectEnd(out.error, tooLarge)
  expectItems(
    Buffer.concat(out.chunks.filter((chunk) => Buffer.isBuffer(chunk))),
    settings.comments ? passedOn : passedOn.filter((item) => 'block' in item),
  )
  expect(out.comments).to.deep.equal(settings.listens ? comments : [])
  expect(out.lastEventId).to.equal(lastEventId)
}

export const serializeThroughSource = fc.asyncProperty(
  fc.array(wireEvent, { maxLength: 6 }),
  delivery,
  async (events, how) => {
    const arrived = events.map(asArrived)
    const bytes: Buffer[] = []
    await pipeline(Readable.from(events), createSerializer(), async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) bytes.push(chunk)
    })
    expect(itemsOf(Buffer.concat(bytes))).to.deep.equal(arrived.map((block) => ({ block })))
    await expectAsModel(Buffer.concat(bytes), how, generous)
  },
)

const meaningful = fc
  .array(fc.constantFrom(...Buffer.from('\n\n\n\r\r::  idataevent\0\xef\xbb\xbf5', 'latin1')), {
    maxLength: 60,
  })
  .map((bytes) => Buffer.from(bytes))

const anyBytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  { arbitrary: streamBytes, weight: 6 },
  { arbitrary: meaningful, weight: 2 },
  { arbitrary: fc.uint8Array({ maxLength: 200 }), weight: 1 },
)

export const anyBytesAtAll = fc.asyncProperty(anyBytes, delivery, settings, expectAsModel)
