import { oneOf, type Random, wholeBetween } from '../support/flaky-upstream.ts'

/** A block of the upstream's log: an event, or an id without data. */
export interface Block {
  /** The number of the block in the log, from 1. */
  readonly position: number
  readonly id: string | undefined
  readonly type: string | undefined
  /** Starts with the position; undefined for a block without data. */
  readonly data: string | undefined
  /** Whether the event has an id. Events without an id may arrive repeatedly: a repeat cannot be told from a new event. */
  readonly counts: boolean
}

/** The kinds of ids. */
const idKinds = [
  'numbers',
  'restarted',
  'long',
  'not ASCII',
  'punctuation',
  'shared',
  'sparse',
  'control',
] as const

const types = [undefined, 'message', 'update', 'größe', 'relay-status '] as const
const fillers = [
  '',
  'x',
  '日本語 😀',
  '  spaces  ',
  'two\nlines',
  '\n\n',
  'id: 7',
  ': comment',
  'data: data',
  '\u2028\ufeff\u0000',
] as const

/** The blocks of an upstream, and the properties of their ids. */
export interface Log {
  readonly log: readonly Block[]
  /** The position after which ids count from 1 again. */
  readonly restart: number | undefined
  /** Whether each event has its own id, and a header field can carry the id. */
  readonly distinct: boolean
}

/** Makes a log with ids of one kind. */
export function logOf(random: Random, short: boolean): Log {
  const kind = short ? 'numbers' : oneOf(idKinds, random())
  const length = wholeBetween(60, 250, random())
  // The restart comes so late that an id after it is never one of the latest ids before it: such an id would be ambiguous.
  const restart =
    kind === 'restarted' ? wholeBetween(Math.ceil(0.75 * length), length - 5, random()) : undefined
  const log: Block[] = []
  let group = 0
  for (let position = 1; position <= length; position++) {
    const last = position === length
    group = random() < 0.4 ? position : Math.max(group, 1)
    const id = last && restart === undefined ? 'the end' : idOf(kind, position, restart, group, random)
    const alone = !short && !last && id !== undefined && id !== '' && kind !== 'shared' && random() < 0.05
    log.push({
      position,
      id,
      type: alone || short ? undefined : oneOf<string | undefined>(types, random()),
      data: alone ? undefined : `${position} ${short ? '' : fillerOf(random)}`,
      counts: id !== undefined && id !== '',
    })
  }
  return { log, restart, distinct: !['shared', 'sparse', 'control'].includes(kind) }
}

function idOf(
  kind: (typeof idKinds)[number],
  position: number,
  restart: number | undefined,
  group: number,
  random: Random,
): string | undefined {
  switch (kind) {
    case 'numbers':
      return String(position)
    case 'restarted':
      return String(restart !== undefined && position > restart ? position - restart : position)
    case 'long':
      return `${position}-${'x'.repeat(wholeBetween(0, 5000, random()))}`
    case 'not ASCII':
      return `事件 ${position} é 😀`
    case 'punctuation':
      return `{"n":${position}, "at": "a:b%2F\\;="}`
    case 'shared':
      return `group ${group}`
    case 'sparse':
      return oneOf([String(position), String(position), String(position), undefined, ''], random())
    case 'control':
      return random() < 0.2 ? `${position}\u0001\u007f` : String(position)
  }
}

function fillerOf(random: Random): string {
  const filler = oneOf<string>(fillers, random())
  return random() < 0.03 ? `${filler}${'long '.repeat(wholeBetween(1000, 16_000, random()))}` : filler
}
