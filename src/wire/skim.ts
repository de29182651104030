import { readFileSync } from 'node:fs'

const SPACE = 32
/** Where the bytes stand in the module's memory. */
const bytesAt = 16
/** More is never skimmed. */
const mostBytes = 1_048_576

/** What is known of blocks without reading them event by event. */
export interface Skimmed {
  /** How many of them have data. */
  readonly events: number
  /** Where the value of the last id in them starts; 0 when there is none. */
  readonly idStart: number
  /** Where it ends; 0 when there is none. */
  readonly idEnd: number
}

/** As much of the platform's as is used; its types come with those of browsers only. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: SkimModule }
}

/** The compiled skim.wat, which says what it does. */
interface SkimModule {
  readonly memory: { readonly buffer: ArrayBuffer }
  skim(size: number): number
}

/** One for all streams, as it keeps nothing; null where there can be none. */
let skimmer: Skimmer | null | undefined

/**
 * Looks at how the lines of whole blocks begin.
 *
 * This much has to be known of each event, and in JavaScript it costs more than to pass the event on. Where the module
 * cannot be had (a bundle without it, `--jitless`), nothing can be skimmed.
 *
 * @returns undefined when the blocks have to be read: they would not mean the same to our clients as to us (a line ends with
 * CR, an id is to be ignored for its NUL, a reconnection time is meant for us, a byte order mark is left, which was the
 * second one and would be our clients' first), or there is too much of them.
 */
export function skim(blocks: Buffer): Skimmed | undefined {
  if (skimmer === undefined) skimmer = load()
  return skimmer?.skim(blocks)
}

class Skimmer {
  readonly #module: SkimModule
  readonly #bytes: Uint8Array
  /** Where the last id line begins and ends. */
  readonly #idLine: Uint32Array

  constructor(module: SkimModule) {
    this.#module = module
    this.#bytes = new Uint8Array(module.memory.buffer, bytesAt, mostBytes)
    this.#idLine = new Uint32Array(module.memory.buffer, 0, 2)
  }

  skim(blocks: Buffer): Skimmed | undefined {
    if (blocks.length > mostBytes) return undefined
    this.#bytes.set(blocks)
    const events = this.#module.skim(blocks.length)
    if (events < 0) return undefined
    // By index: to take a typed array apart costs more than all else here.
    const line = this.#idLine[0] ?? 0
    const lineEnd = this.#idLine[1] ?? 0
    if (line === 0) return { events, idStart: 0, idEnd: 0 }
    const idEnd = lineEnd - bytesAt
    const value = Math.min(line - bytesAt + 'id:'.length, idEnd)
    return { events, idStart: blocks[value] === SPACE ? value + 1 : value, idEnd }
  }
}

function load(): Skimmer | null {
  try {
    // The same file, seen from the sources and from what is made of them.
    const code = readFileSync(new URL('../../dist/skim.wasm', import.meta.url))
    return new Skimmer(new WebAssembly.Instance(new WebAssembly.Module(code)).exports)
  } catch {
    return null
  }
}
