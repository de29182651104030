import fc from 'fast-check'
import type { SseEvent } from '../../src/wire/event.ts'
import type { ReaderCallbacks } from '../../src/wire/reader.ts'

/** One item of an event stream's content. */
export type Item =
  | { readonly block: SseEvent }
  | { readonly comment: string }
  | { readonly reconnectionTime: number }

/**
 * The items of a whole event stream, in the order of the wire, found by the steps of the standard.
 *
 * Unlike the standard, this function also returns comments, and blocks with an id and without data. An unfinished block at the
 * end of the stream is discarded with its comments, but its reconnection time takes effect.
 *
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation | HTML, 9.2.6}
 */
export function itemsOf(bytes: Uint8Array): Item[] {
  // UTF-8 decode: strips one byte order mark, and replaces invalid bytes with U+FFFD.
  const text = new TextDecoder('utf-8', { ignoreBOM: false }).decode(bytes)
  // The last piece is a line that never ended.
  const lines = text.split(/\r\n|\r|\n/).slice(0, -1)
  const items: Item[] = []
  let fields = noFields()
  /** Where the current block's items start; undefined before its first field. */
  let start: number | undefined
  for (const line of lines) {
    if (line === '') {
      const block = blockOf(fields)
      if (block !== undefined) items.push({ block })
      fields = noFields()
      start = undefined
    } else if (line.startsWith(':')) {
      items.push({ comment: withoutSpace(line.slice(1)) })
    } else {
      start ??= items.length
      const colon = line.indexOf(':')
      const name = colon === -1 ? line : line.slice(0, colon)
      const value = colon === -1 ? '' : withoutSpace(line.slice(colon + 1))
      if (name === 'event') fields.type = value
      else if (name === 'data') fields.data += `${value}\n`
      else if (name === 'id' && !value.includes('\0')) fields.id = value
      else if (name === 'retry' && /^[0-9]+$/.test(value)) items.push({ reconnectionTime: Number(value) })
    }
  }
  if (start === undefined) return items
  return items.filter((item, n) => n < (start ?? 0) || 'reconnectionTime' in item)
}

interface Fields {
  id: string | undefined
  type: string
  data: string
}

const noFields = (): Fields => ({ id: undefined, type: '', data: '' })

function blockOf({ id, type, data }: Fields): SseEvent | undefined {
  if (data === '' && id === undefined) return undefined
  return {
    ...(id !== undefined && { id }),
    ...(data !== '' && { data: data.slice(0, -1) }),
    ...(data !== '' && type !== '' && { event: type }),
  }
}

function withoutSpace(value: string): string {
  return value.startsWith(' ') ? value.slice(1) : value
}

/** Callbacks that collect the model's items in `items`. */
export function noting(items: Item[]): ReaderCallbacks {
  return {
    onEvent: (event) => items.push({ block: plain(event) }),
    onComment: (comment) => items.push({ comment }),
    onRetry: (reconnectionTime) => items.push({ reconnectionTime }),
  }
}

/** An event without absent and default fields. */
export function plain({ id, event, data }: SseEvent): SseEvent {
  return {
    ...(id !== undefined && { id }),
    ...(data !== undefined && { data }),
    ...(event !== undefined && event !== '' && { event }),
  }
}

/** The end of a block, or of a comment before a block. Positions count from the end of the byte order mark. */
export interface Boundary {
  readonly at: number
  /** The number of bytes of the block or comment. */
  readonly size: number
}

/**
 * The ends of all blocks, and of comments before blocks. A CRLF gives two boundaries: the block ends at the CR, and the LF
 * belongs to no block.
 */
export function boundariesOf(bytes: Uint8Array): Boundary[] {
  const all = Buffer.from(withoutMark(bytes)).toString('latin1')
  // Without the unfinished line: the expression would search for its end from each of its characters.
  const text = all.slice(0, Math.max(all.lastIndexOf('\n'), all.lastIndexOf('\r')) + 1)
  const boundaries: Boundary[] = []
  let start = 0
  let inBlock = false
  for (const { 0: whole, 1: line = '', index } of text.matchAll(/([^\r\n]*)(?:\r\n|\r|\n)/g)) {
    if (line !== '' && !line.startsWith(':')) inBlock = true
    if (line === '') inBlock = false
    if (inBlock) continue
    const at = index + line.length + 1
    boundaries.push({ at, size: at - start })
    start = index + whole.length
    if (start > at) boundaries.push({ at: start, size: 1 })
  }
  return boundaries
}

/** The items before the first block of more than `limit` bytes, and whether there is such a block. */
export function itemsWithin(bytes: Uint8Array, limit: number): { items: Item[]; tooLarge: boolean } {
  const markSize = bytes.length - withoutMark(bytes).length
  const boundaries = boundariesOf(bytes)
  const failing = boundaries.findIndex(({ size }) => size > limit)
  const whole = boundaries.slice(0, failing === -1 ? undefined : failing).at(-1)?.at ?? 0
  // The beginning of a byte order mark belongs to no block.
  const isMark = bytes.length < mark.length && bytes.every((byte, n) => byte === mark[n])
  const tooLarge = failing !== -1 || (!isMark && bytes.length - markSize - whole > limit)
  return { items: itemsOf(tooLarge ? bytes.subarray(0, markSize + whole) : bytes), tooLarge }
}

/** The bytes without a byte order mark at their start. */
export function withoutMark(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
}

const mark = [0xef, 0xbb, 0xbf]
const brokenUtf8 = [
  [0xff],
  [0x80],
  [0xc3],
  [0xc0, 0xaf],
  [0xe6, 0x97],
  [0xef, 0xbb],
  [0xed, 0xa0, 0x80],
  [0xf0, 0x9f, 0x98],
]
const characters = ['a', 'data', '5', ' ', '\t', ':', '\0', 'é', '日本', '😀', '\u2028', '\ufeff', 'ï»¿']
const reconnectionTimes = [
  '0',
  '5',
  '007',
  '3000',
  '99999999999',
  '9'.repeat(400),
  '',
  '5abc',
  '-1',
  '1.5',
  '٣',
]

const valueBytes = fc
  .array(
    fc.oneof(
      { arbitrary: fc.constantFrom(...characters).map((text) => Buffer.from(text)), weight: 4 },
      { arbitrary: fc.constantFrom(...brokenUtf8).map((bytes) => Buffer.from(bytes)), weight: 1 },
    ),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.concat(parts))

const colon = fc.constantFrom(':', ': ', ':  ', '')

/** A line without its line end: a field, a comment, a blank line, or any other bytes. */
const lineBytes = fc.oneof(
  {
    arbitrary: fc
      .tuple(fc.constantFrom('data', 'id', 'event', 'Data', 'retry'), colon, valueBytes)
      .map(([name, separator, value]) => Buffer.concat([Buffer.from(name + separator), value])),
    weight: 5,
  },
  {
    arbitrary: fc
      .tuple(fc.constantFrom(':', ': '), fc.constantFrom(...reconnectionTimes))
      .map(([separator, value]) => Buffer.from(`retry${separator}${value}`)),
    weight: 1,
  },
  { arbitrary: valueBytes.map((value) => Buffer.concat([Buffer.from(':'), value])), weight: 2 },
  { arbitrary: valueBytes, weight: 1 },
  { arbitrary: fc.constant(Buffer.alloc(0)), weight: 4 },
)

/** The bytes of an event stream, valid or invalid, with any line ends and byte order marks, whole or cut off. */
export const streamBytes: fc.Arbitrary<Buffer> = fc
  .record({
    start: fc.constantFrom([], [], mark, [...mark, ...mark], [0xef], [0xef, 0xbb], [0xef, 0xbb, 0x0a]),
    lineEnds: fc.constantFrom(['\n'], ['\r'], ['\r\n'], ['\n', '\r', '\r\n']),
    lines: fc.array(fc.tuple(lineBytes, fc.nat(2)), { maxLength: 20 }),
    cutOff: fc.oneof(fc.constant(Buffer.alloc(0)), lineBytes),
  })
  .map(({ start, lineEnds, lines, cutOff }) => {
    const whole = lines.flatMap(([line, end]) => [line, Buffer.from(lineEnds[end % lineEnds.length] ?? '\n')])
    return Buffer.concat([Buffer.from(start), ...whole, cutOff])
  })

/** Where bytes are cut into chunks: everywhere, or at places that {@link chunksOf} takes modulo the length. */
export const cuts: fc.Arbitrary<'everywhere' | readonly number[]> = fc.oneof(
  fc.constant('everywhere' as const),
  fc.array(fc.nat(1000), { maxLength: 12 }),
)

/** Cuts bytes into chunks, each a copy; some may be empty. */
export function chunksOf(bytes: Uint8Array, at: 'everywhere' | readonly number[]): Buffer[] {
  const places =
    at === 'everywhere'
      ? Array.from(bytes.keys())
      : at.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)
  return [0, ...places].map((place, n) => Buffer.from(bytes.subarray(place, places[n] ?? bytes.length)))
}
