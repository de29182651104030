import { shown } from '../errors.ts'
import { type Kind, withDefault } from '../options.ts'
import type { SseEvent } from '../wire/event.ts'

/** The type, the data, or both, of a stream's last event. */
export interface Terminal {
  readonly event?: string
  readonly data?: string
}

const what = '{"event": TYPE} or {"data": DATA}, event=TYPE, data=DATA, or null or none'

/** An object or null in a file, or a text: JSON, `event=done`, `data=[DONE]`, `none`. */
const terminalKind: Kind<Terminal | null, unknown> = {
  text: { placeholder: 'event=TYPE|data=DATA|none', parse: (text) => text },
  check(value, name) {
    const read = typeof value === 'string' ? parse(value, name) : value
    if (read === null) return null
    const fields = typeof read === 'object' && !Array.isArray(read) ? Object.entries(read) : []
    const known = fields.filter(
      (field): field is ['event' | 'data', string] =>
        (field[0] === 'event' || field[0] === 'data') && typeof field[1] === 'string',
    )
    if (known.length === 0 || known.length < fields.length) {
      throw new TypeError(`${name} must be ${what}, got ${shown(value)}`)
    }
    return Object.fromEntries(known)
  },
}

export const terminalOptions = {
  terminal: withDefault(terminalKind, 'data=[DONE]', 'the last event of a stream'),
}

/** Whether an event is the last one. The type of an event without a type field is `message` (HTML, 9.2.6). */
export function isTerminalEvent(terminal: Terminal, event: SseEvent): boolean {
  return (
    (terminal.event === undefined || terminal.event === (event.event ?? 'message')) &&
    (terminal.data === undefined || terminal.data === event.data)
  )
}

function parse(text: string, name: string): unknown {
  if (text === 'none' || text === 'null') return null
  const [, key, value] = /^(event|data)=(.*)$/s.exec(text) ?? []
  if (key !== undefined) return { [key]: value }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new TypeError(`${name} must be ${what}, got ${shown(text)}`, { cause })
  }
}
