import fc from 'fast-check'

/** A response in raw bytes, and the reads in which it arrives. */
export interface RawResponse {
  readonly method: 'GET' | 'HEAD' | 'POST'
  readonly isLenient: boolean
  readonly reads: readonly Buffer[]
  /** Whether no byte follows the end of the response. */
  readonly isAlone: boolean
  /** What follows the last byte. */
  readonly end: 'FIN' | 'reset' | 'nothing'
}

const mostly = <T>(usual: T, ...others: readonly T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(usual) },
    { weight: others.length, arbitrary: fc.constantFrom(...others) },
  )

const lineEnd = fc.oneof(
  { weight: 60, arbitrary: fc.constant('\r\n') },
  { weight: 1, arbitrary: fc.constantFrom('\n', '\r', '\r\r\n') },
)
const interim = mostly(
  '',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n',
  '\r\n',
)
const statusLine = mostly(
  'HTTP/1.1 200 OK',
  'HTTP/1.0 200 OK',
  'HTTP/1.1 200',
  'HTTP/1.1 204 No Content',
  'HTTP/1.1 304 Not Modified',
  'HTTP/1.1 404 Not Found',
  'HTTP/2.0 200 OK',
  'HTTP/1.1 20 OK',
  'http/1.1 200 OK',
)
const contentType = mostly(
  'content-type: text/event-stream',
  'Content-Type: text/event-stream; charset=utf-8',
  'content-type: application/json',
  'content-type: text/event-stream\r\ncontent-type: text/html',
  'content-type:\r\n text/event-stream',
  'x: y',
)
const framing = fc.oneof(
  { weight: 12, arbitrary: fc.constant('transfer-encoding: chunked') },
  { weight: 4, arbitrary: fc.constant('x-framing: close') },
  { weight: 4, arbitrary: fc.constant('content-length: 12000') },
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      'Transfer-Encoding: Chunked',
      'transfer-encoding: gzip, chunked',
      'transfer-encoding: chunked\r\ntransfer-encoding: chunked',
      'transfer-encoding: chunked, identity',
      'transfer-encoding: identity',
      'transfer-encoding : chunked',
      'content-length: 20',
      'content-length: 20\r\ntransfer-encoding: chunked',
      'content-length: 20\r\ncontent-length: 21',
      'content-length: -1',
    ),
  },
)
const more = mostly(
  'cache-control: no-cache',
  'connection: close',
  'connection: keep-alive',
  'content-encoding: gzip',
  'trailer: a',
  'upgrade: websocket\r\nconnection: upgrade',
  'bad header',
  'a: \u0000',
)

const head = fc
  .tuple(interim, statusLine, fc.shuffledSubarray([contentType, framing, more], { minLength: 3 }), lineEnd)
  .chain(([before, status, fields, end]) =>
    fc.tuple(...fields).map((lines) => `${before}${[status, ...lines].join(end)}${end}\r\n`),
  )

const letters = 'data: the quick brown fox\n\nid: 7\n\r\n0\r\n\r\n5;a\r\nHTTP/1.1 200 OK\r\n\r\n'.repeat(40)
const data = fc.oneof(
  { weight: 10, arbitrary: fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 60 })) },
  { weight: 1, arbitrary: fc.tuple(fc.nat(40), fc.constantFrom(255, 256, 2000)) },
)
const size = fc.oneof(
  { weight: 12, arbitrary: fc.constant((n: number) => n.toString(16)) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      (n: number) => n.toString(16).toUpperCase(),
      (n: number) => n.toString(16).padStart(6, '0'),
      (n: number) => n.toString(16).padStart(9, '0'),
      (n: number) => `${n.toString(16)};name=value`,
      (n: number) => `${n.toString(16)};name="quoted; value"`,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      (n: number) => `${n.toString(16)} `,
      (n: number) => ` ${n.toString(16)}`,
      (n: number) => `+${n.toString(16)}`,
      (n: number) => `0x${n.toString(16)}`,
      (n: number) => `${n.toString(16)};`,
      (n: number) => (n + 1).toString(16),
      (n: number) => Math.max(1, n - 1).toString(16),
      () => '',
      () => '-1',
      () => 'fffffffffffffffff',
    ),
  },
)
const chunk = fc.tuple(data, size, lineEnd, lineEnd).map(([[from, length], write, first, second]) => {
  const text = letters.slice(from, from + length)
  return `${write(text.length)}${first}${text}${second}`
})
const lastChunk = mostly(
  '0\r\n\r\n',
  '000\r\n\r\n',
  '0;ext\r\n\r\n',
  '0\r\na: b\r\n\r\n',
  '0\r\na: b\r\nbad trailer\r\n\r\n',
  '0\r\n',
  '0\n\n',
  '',
)
const after = mostly('', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx', '\r\n', 'garbage', '\r\n\r\n')

/** What the length of a long body stands for. */
const longBody = letters.repeat(5).slice(0, 12_000)

/** One byte more, less, or another. */
type Fault = readonly [kind: 'insert' | 'remove' | 'replace', place: number, byte: number]
const fault: fc.Arbitrary<Fault> = fc.tuple(
  fc.constantFrom('insert', 'remove', 'replace'),
  fc.nat(9999),
  fc.oneof(fc.constantFrom(...Buffer.from('\r\n0aF; \0')), fc.nat(255)),
)

function damaged(bytes: Buffer, [kind, place, byte]: Fault): Buffer {
  const at = place % Math.max(1, bytes.length)
  const left = kind === 'insert' ? at : at + 1
  return Buffer.concat([
    bytes.subarray(0, at),
    Buffer.from(kind === 'remove' ? [] : [byte]),
    bytes.subarray(left),
  ])
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return ends.map((end, n) => bytes.subarray(ends[n - 1] ?? 0, end)).filter((read) => read.length > 0)
}

const shortBody = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.nat(40), fc.nat(200)).map(([from, length]) => letters.slice(from, from + length)),
  },
  { weight: 1, arbitrary: fc.constantFrom('', 'x'.repeat(9999), 'x'.repeat(10_000)) },
)
const shortType = mostly(
  'content-type: application/json',
  'Content-Type: text/event-stream',
  'content-type:text/plain',
  'set-cookie: a=1\r\nset-cookie: b=2',
  'x-a: ',
  'x-a: \u00e4',
)
const shortFraming = mostly(
  (length: number) => `content-length: ${length}`,
  (length: number) => `Content-Length: ${length}`,
  (length: number) => `content-length: ${length + 1}`,
  (length: number) => `content-length: ${Math.max(0, length - 1)}`,
  (length: number) => `content-length: 0${length}`,
  (length: number) => `content-length:  ${length} `,
  (length: number) => `content-length: ${length}\r\ncontent-length: ${length}`,
  (length: number) => `content-length: ${length}\r\ntransfer-encoding: chunked`,
  (length: number) => `content-length: ${length}\r\ntransfer-encoding: identity`,
  (length: number) => `content-length: ${length}, ${length}`,
  () => 'transfer-encoding: chunked',
  () => 'x-framing: close',
)

/** Answers to a GET with a length, of which most arrive at once. */
export const shortResponse: fc.Arbitrary<RawResponse> = fc
  .record({
    interim,
    statusLine,
    fields: fc.shuffledSubarray([shortType, more, fc.constantFrom('connection: keep-alive', 'date: today')]),
    framing: shortFraming,
    lineEnd,
    body: shortBody,
    after,
    fault: fc.option(fault, { freq: 3 }),
    cuts: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(fc.nat(99_999), { maxLength: 3 }) },
    ),
    end: fc.constantFrom<RawResponse['end'][]>('FIN', 'reset', 'nothing'),
  })
  .chain(({ fields, ...rest }) => fc.tuple(fc.constant(rest), fc.tuple(...fields)))
  .map(([{ interim, statusLine, framing, lineEnd, body, after, fault, cuts, end }, fields]) => {
    const head = [statusLine, ...fields, framing(body.length)].join(lineEnd)
    const whole = Buffer.from(`${interim}${head}${lineEnd}\r\n${body}${after}`, 'latin1')
    const isAlone = after === '' && fault === null && head.startsWith('HTTP/1.1 200 OK')
    return {
      method: 'GET',
      isLenient: false,
      reads: cut(fault ? damaged(whole, fault) : whole, cuts),
      isAlone,
      end,
    }
  })

/** Responses of which most are valid, and many are not. */
export const rawResponse: fc.Arbitrary<RawResponse> = fc
  .record({
    method: mostly<RawResponse['method']>('GET', 'HEAD', 'POST'),
    isLenient: mostly(false, true),
    head,
    chunks: fc.array(chunk, { maxLength: 6 }),
    lastChunk,
    after,
    fault: fc.option(fault, { freq: 3 }),
    cuts: fc.array(fc.nat(99_999), { maxLength: 8 }),
    isBytewise: mostly(false, true),
    end: fc.constantFrom<RawResponse['end'][]>('FIN', 'reset', 'nothing'),
  })
  .map(({ method, isLenient, head, chunks, lastChunk, after, fault, cuts, isBytewise, end }) => {
    const isLong = head.includes('content-length: 12000')
    const body = isLong ? longBody : [...chunks, lastChunk].join('')
    const whole = Buffer.from(head + body + after, 'latin1')
    const bytes = fault ? damaged(whole, fault) : whole
    return {
      method,
      isLenient,
      reads: isBytewise && !isLong ? Array.from(bytes, (byte) => Buffer.from([byte])) : cut(bytes, cuts),
      isAlone: after === '' && fault === null && method !== 'HEAD' && head.startsWith('HTTP/1.1 200 OK'),
      end,
    }
  })
