import { constants } from 'node:buffer'
import { shown } from './errors.ts'
import { longestTimer } from './http/timer-wheel.ts'

/** How a value is written in a flag or an environment variable of the command. */
export interface TextForm {
  /** The placeholder for the value in `--help`. */
  readonly placeholder: string
  /** Parses a value. An invalid text is returned unchanged, so that the check names it in its error. */
  parse(text: string): unknown
}

/** A type of option values, and its check. */
export interface Kind<Value, Given = Value> {
  /** Undefined for values that have no text form, such as functions. */
  readonly text?: TextForm
  /**
   * Checks a value at run time: untyped callers may pass any value.
   *
   * @returns The value to use.
   * @throws `TypeError` for a wrong type and `RangeError` for a wrong number; the message names the option and the value.
   */
  check(value: Given, name: string): Value
}

/** An entry of a table of options; the entry's key is the option's name. */
export interface Option<Value, Given = Value> {
  readonly text: TextForm | undefined
  /** Undefined: the option has no default. */
  readonly default: Given | undefined
  readonly required: boolean
  /** The option's line in `--help`. Undefined: the command does not have the option. */
  readonly help: string | undefined
  /** Checks as {@link Kind.check} does. Undefined for an absent option. */
  read(value: Given | undefined, name: string): Value
}

export function withDefault<V, G>(kind: Kind<V, G>, byDefault: G, help?: string): Option<V, G> {
  const read = (value: G = byDefault, name: string) => kind.check(value, name)
  return { text: kind.text, default: byDefault, required: false, help, read }
}

/** @param usual - The default for documents, where the actual default depends on other options too. */
export function optional<V, G>(kind: Kind<V, G>, help?: string, usual?: G): Option<V | undefined, G> {
  const read = (value: G | undefined, name: string) =>
    value === undefined ? undefined : kind.check(value, name)
  return { text: kind.text, default: usual, required: false, help, read }
}

export function required<V, G>(kind: Kind<V, G>, help?: string): Option<V, G | undefined> {
  return { text: kind.text, default: undefined, required: true, help, read: kind.check }
}

/** Options by name; `Values` is the type of their checked values. */
export type Table<Values> = { readonly [K in keyof Values]: Option<Values[K], unknown> }

/** The type of the options that a caller passes for a table. Each option has its entry's documentation. */
export type OptionsOf<Entries> = { readonly [K in keyof Entries]?: GivenOf<Entries[K]> | undefined }

type GivenOf<Entry> = Entry extends Option<unknown, infer Given> ? Given : never

/** The type of a table's checked values, with defaults. */
export type ValuesOf<Entries> = {
  readonly [K in keyof Entries]: Entries[K] extends Option<infer Value, unknown> ? Value : never
}

/** Other tables of options, by the place where their options belong. */
export type Elsewhere = Readonly<Record<string, Table<object>>>

/**
 * @param place - The prefix of the options' names in messages, such as `reconnect`; `''` for no prefix.
 * @param elsewhere - Tables to search for an option that this table does not have, to name its place.
 * @throws `TypeError` or `RangeError` that names the option and the value; `TypeError` for an unknown option, even if its
 * value is undefined.
 */
export function checkOptions<V extends object>(
  table: Table<V>,
  options: unknown,
  place = '',
  elsewhere: Elsewhere = {},
): V {
  refuseUnknown(table, options, place, elsewhere)
  return readOptions(table, options, place)
}

/** Throws for a value that is not an object, and for unknown options. The parameters are those of {@link checkOptions}. */
export function refuseUnknown(
  table: Table<object>,
  options: unknown,
  place: string,
  elsewhere: Elsewhere = {},
): asserts options is object {
  if (!isObject(options)) throw new TypeError(message(place || 'options', 'an object', options))
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(table, name)) continue
    const home = Object.keys(elsewhere).find((each) => Object.hasOwn(elsewhere[each] ?? {}, name))
    const known = Object.keys(table)
    const near = nearest(name, known)
    const hint =
      home !== undefined
        ? `it belongs to ${home}`
        : near !== undefined
          ? `did you mean ${nameAt(place, near)}?`
          : `known options: ${known.join(', ')}`
    throw new TypeError(`${nameAt(place, name)} is not an option here: ${hint}`)
  }
}

/** Checks a table's options and adds defaults. Ignores other names. */
export function readOptions<V extends object>(table: Table<V>, options: object, place = ''): V {
  const values = read(table, options, place, () => true)
  if (!isComplete(table, values)) throw new Error('an option was not read')
  return values
}

/** Checks a table's options without adding defaults: absent options stay absent. */
export function readGiven<V extends object>(table: Table<V>, options: object): Partial<V> {
  return read(table, options, '', (value) => value !== undefined)
}

function read<V extends object>(
  table: Table<V>,
  options: object,
  place: string,
  isWanted: (value: unknown) => boolean,
): Partial<V> {
  const values: Partial<V> = {}
  for (const name in table) {
    const value: unknown = Reflect.get(options, name)
    if (isWanted(value)) values[name] = table[name].read(value, nameAt(place, name))
  }
  return values
}

/** The most objects that {@link sharing} remembers. */
const mostShared = 16

/**
 * Makes a function that returns an earlier object in place of an object with the same values: thousands of streams that are
 * opened with the same options then hold one object. An earlier object is remembered only while a stream holds it.
 */
export function sharing<V extends object>(): (values: V) => V {
  const earlier: WeakRef<V>[] = []
  return (values) => {
    for (const [n, reference] of earlier.entries()) {
      const known = reference.deref()
      if (known === undefined || !isEqual(known, values)) continue
      // The latest come first: options that are new for each stream would otherwise push out the others.
      earlier.splice(n, 1)
      earlier.unshift(reference)
      return known
    }
    earlier.unshift(new WeakRef(values))
    if (earlier.length > mostShared) earlier.pop()
    return values
  }
}

function isEqual(a: object, b: object): boolean {
  const names = Object.keys(a)
  if (names.length !== Object.keys(b).length) return false
  return names.every((name) => Object.is(Reflect.get(a, name), Reflect.get(b, name)))
}

function isComplete<V extends object>(table: Table<V>, values: Partial<V>): values is V {
  return Object.keys(table).every((name) => Object.hasOwn(values, name))
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function nameAt(place: string, name: string): string {
  return place === '' ? name : `${place}.${name}`
}

function message(name: string, what: string, got: unknown): string {
  return `${name} must be ${what}, got ${shown(got)}`
}

/**
 * The known name with the smallest edit distance to a wrong name; undefined when that distance is more than half of the
 * known name's length.
 *
 * @param start - A prefix that all known names share; it does not count towards the length.
 */
export function nearest(wrong: string, known: readonly string[], start = ''): string | undefined {
  const [best] = known
    .map((name) => ({ name, distance: editDistance(wrong.toLowerCase(), name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= Math.ceil((name.length - start.length) / 2))
    .sort((a, b) => a.distance - b.distance)
  return best?.name
}

/**
 * The number of inserted and deleted letters between two names. A replaced letter counts twice: otherwise `maxRetry` would
 * be as near to `maxDelay` as to `maxRetries`.
 */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, n) => n)
  for (const letter of from) {
    const next = [(row[0] ?? 0) + 1]
    for (const [n, other] of [...to].entries()) {
      const replaced = (row[n] ?? 0) + (letter === other ? 0 : 2)
      next.push(Math.min(replaced, (row[n + 1] ?? 0) + 1, (next[n] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}

/** A kind whose text form is the value itself. */
export function written<V, G>(placeholder: string, check: (value: unknown, name: string) => V): Kind<V, G> {
  return { text: { placeholder, parse: (text) => text }, check }
}

export function number(least: number, most: number, placeholder: string, whole = false): Kind<number> {
  const what = `a ${whole ? 'whole ' : ''}number from ${least} to ${most}`
  return {
    text: {
      placeholder,
      parse: (text) => (/^(\d+(\.\d+)?|Infinity)$/.test(text) ? Number(text) : text),
    },
    check(value: unknown, name) {
      if (typeof value !== 'number') throw new TypeError(message(name, what, value))
      const fits = !whole || Number.isSafeInteger(value) || value === Number.POSITIVE_INFINITY
      if (!(fits && value >= least && value <= most)) throw new RangeError(message(name, what, value))
      return value
    },
  }
}

export function milliseconds(least = 0, most = longestTimer): Kind<number> {
  return number(least, most, 'MS')
}

export function count(least: number, most = Number.MAX_SAFE_INTEGER): Kind<number> {
  return number(least, most, 'N', true)
}

/** A number of bytes, at most the length of Node's longest string. */
export function bytes(least: number): Kind<number> {
  return number(least, constants.MAX_STRING_LENGTH, 'BYTES', true)
}

export const flag: Kind<boolean> = {
  text: {
    placeholder: 'true|false',
    parse: (text) => (text === 'true' ? true : text === 'false' ? false : text),
  },
  check(value: unknown, name) {
    if (typeof value !== 'boolean') throw new TypeError(message(name, 'true or false', value))
    return value
  },
}

export function choice<T extends string>(...values: readonly T[]): Kind<T> {
  const what = values.map((each) => `'${each}'`).join(' or ')
  return written(values.join('|'), (value, name) => {
    const chosen = values.find((each) => each === value)
    if (chosen === undefined) throw new TypeError(message(name, what, value))
    return chosen
  })
}

export const text: Kind<string> = written('TEXT', (value, name) => {
  if (typeof value !== 'string') throw new TypeError(message(name, 'a string', value))
  return value
})

/** A function of the caller. */
export function callback<F>(): Kind<F> {
  return {
    check(value, name) {
      if (typeof value !== 'function') throw new TypeError(message(name, 'a function', value))
      return value
    },
  }
}

/** An object; `fits` checks the members that are used. */
export function object<T>(what: string, fits: (value: T & object) => boolean = () => true): Kind<T> {
  return {
    check(value, name) {
      if (!isObject(value) || !fits(value)) throw new TypeError(message(name, what, value))
      return value
    },
  }
}
