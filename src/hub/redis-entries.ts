import { SseError } from '../errors.ts'
import type { RedisArgument } from './redis-client.ts'
import { endSeqInRedis } from './redis-scripts.ts'
import { type EndEntry, type Entry, type EventsEntry, endSeq, type Position } from './store.ts'

/** The greatest id before a position. */
export function idBefore(position: Position | 'first'): string {
  if (position === 'first') return '0-0'
  const { epoch, seq } = position
  // Nothing of an epoch follows its end.
  if (seq > endSeq) return `${epoch}-${endSeqInRedis}`
  if (seq === endSeq) return `${epoch}-${BigInt(endSeqInRedis) - 1n}`
  if (seq > 0) return `${epoch}-${seq - 1}`
  return epoch > 0 ? `${epoch - 1}-${endSeqInRedis}` : '0-0'
}

export function formatPosition({ epoch, seq }: Position): string {
  return `${epoch}-${seq >= endSeq ? endSeqInRedis : seq}`
}

/** @returns Undefined for an empty text. */
export function parsePosition(text: string): Position | undefined {
  const [epoch = '', seq = ''] = text.split('-')
  if (epoch === '' || seq === '') return undefined
  const position = { epoch: Number(epoch), seq: seq === endSeqInRedis ? endSeq : Number(seq) }
  return Number.isSafeInteger(position.epoch) && Number.isSafeInteger(position.seq) ? position : undefined
}

/** The `seq` of the entry that the log must have before this one. */
export function seqBefore(entry: EventsEntry | EndEntry): number {
  if (entry.kind === 'events') return entry.first - 1
  return entry.previous?.epoch === entry.epoch ? entry.previous.seq : 0
}

/** The fields of an entry in Redis. Redis stores the names of fields once where consecutive entries have the same fields. */
export function fieldsOf(entry: EventsEntry | EndEntry): RedisArgument[] {
  const age = ['a', `${entry.at - entry.epoch}`]
  if (entry.kind === 'events') {
    const { bytes, first, last, cursor, gap } = entry
    const place = cursor === undefined ? [] : ['c', cursor]
    return ['d', bytes, 'n', `${last - first}`, ...age, ...place, ...(gap ? ['g', ''] : [])]
  }
  const { how, previous, code, status, fields, body, reason } = entry
  const place = previous && formatPosition(previous)
  const optional = { p: place, c: code, s: status?.toString(), h: fields, b: body, r: reason }
  const given = Object.entries(optional).flatMap(([name, value]) =>
    value === undefined ? [] : [name, value],
  )
  return ['x', how, ...age, ...given]
}

/** The entries of a reply to XRANGE or XREVRANGE. */
export function entriesOf(reply: unknown): Entry[] {
  if (!Array.isArray(reply)) throw new Error('Redis gave an unknown answer to a read')
  return reply.map(entryOf)
}

function entryOf(item: unknown): Entry {
  const [id, fields] = Array.isArray(item) ? item : []
  const position = parsePosition(String(id))
  const values = new Map<string, Buffer>()
  if (Array.isArray(fields)) {
    for (let n = 0; n + 1 < fields.length; n += 2) values.set(String(fields[n]), bufferOf(fields[n + 1]))
  }
  const entry = position && parseEntry(position, values)
  if (!entry) {
    const message = `the log of the stream has an entry of another program: ${String(id)}`
    throw new SseError('ERR_SSE_STORE', message)
  }
  return entry
}

function parseEntry({ epoch, seq }: Position, fields: ReadonlyMap<string, Buffer>): Entry | undefined {
  const text = (name: string) => fields.get(name)?.toString()
  const at = epoch + Number(text('a') ?? 0)
  const bytes = fields.get('d')
  if (bytes) {
    const first = seq - Number(text('n'))
    if (!(first >= 1 && first <= seq)) return undefined
    const gap = fields.has('g')
    return { kind: 'events', epoch, at, first, last: seq, bytes, cursor: text('c'), gap }
  }
  const opened = text('o')
  if (opened !== undefined) return { kind: 'open', epoch, at, previous: parsePosition(opened) }
  const how = (['ended', 'failed', 'cancelled'] as const).find((each) => each === text('x'))
  if (how === undefined) return undefined
  const status = text('s')
  return {
    kind: 'end',
    epoch,
    at,
    how,
    previous: parsePosition(text('p') ?? ''),
    code: text('c'),
    status: status === undefined ? undefined : Number(status),
    fields: text('h'),
    body: fields.get('b'),
    reason: text('r'),
  }
}

function bufferOf(value: unknown): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(String(value))
}
