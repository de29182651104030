import type { Logger } from '../diagnostics.ts'
import { reasonOf, SseError } from '../errors.ts'

/** The lowest level that is logged. */
export type LogLevel = keyof Logger

/** From the least to the most important level. */
export const logLevels = ['debug', 'info', 'warn', 'error'] as const satisfies readonly LogLevel[]

export const logFormats = ['logfmt', 'json'] as const

export interface LogOptions {
  readonly format: (typeof logFormats)[number]
  readonly level: LogLevel
  /** Called with each line, including the line break. */
  write(line: string): void
}

/** Makes a logger that writes one line for each call: time, level and msg, then the fields. */
export function createLogger({ format, level, write }: LogOptions): Logger {
  const lineOf = format === 'json' ? jsonOf : logfmtOf
  const least = logLevels.indexOf(level)
  const at = (name: LogLevel) => (fields: object, msg: string) => {
    if (logLevels.indexOf(name) < least) return
    const head: Field[] = [
      ['time', new Date().toISOString()],
      ['level', name],
      ['msg', msg],
    ]
    write(`${lineOf([...head, ...fieldsOf(fields)])}\n`)
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** Escapes the characters that could end a line, or make it look different from what it is. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}

type Field = readonly [key: string, value: string | number | boolean]

const ownFields: readonly string[] = ['time', 'level', 'msg']

/** The most characters of one value: an id, for example, may be as long as an event. */
const longestValue = 1000

function fieldsOf(fields: object): Field[] {
  return Object.entries(fields).flatMap(([key, value]: [string, unknown]): Field[] => {
    if (value === undefined || ownFields.includes(key)) return []
    if (value instanceof Error) return errorFields(value)
    // Times have fractions of a millisecond.
    if (typeof value === 'number') return [[key, Math.round(value)]]
    return [[key, typeof value === 'boolean' ? value : cut(String(value))]]
  })
}

function errorFields(error: Error): Field[] {
  const code: unknown = 'code' in error ? error.code : undefined
  const { cause } = error
  const message = reasonOf(error)
  // The cause is logged only when the message does not repeat it.
  const causeReason = cause instanceof Error ? reasonOf(cause) : ''
  const reason = message.includes(causeReason) ? undefined : causeReason
  return [
    ...(typeof code === 'string' ? ([['code', cut(code)]] as const) : []),
    ['error', cut(message)],
    ...(reason === undefined ? [] : ([['cause', cut(reason)]] as const)),
    // A network error is not a mistake in code, so its stack is of no use.
    ...(error instanceof SseError || code !== undefined
      ? []
      : ([['stack', cut(error.stack ?? '')]] as const)),
  ]
}

function cut(text: string): string {
  return text.length > longestValue ? `${text.slice(0, longestValue)}…` : text
}

function jsonOf(fields: readonly Field[]): string {
  return oneLine(JSON.stringify(Object.fromEntries(fields)))
}

function logfmtOf(fields: readonly Field[]): string {
  return fields.map(([key, value]) => `${key}=${logfmtValue(value)}`).join(' ')
}

function logfmtValue(value: Field[1]): string {
  if (typeof value !== 'string') return String(value)
  return /^[\w.:/@%+*?&,-]+$/.test(value) ? value : oneLine(JSON.stringify(value))
}
