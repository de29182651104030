import { oneOf, type Random } from '../support/flaky-upstream.ts'
import type { Block } from './log.ts'

const reconnectionTimes = ['0', '3', '99999999999', '9'.repeat(400), '5abc', '-1', '1e3', '', ' 7'] as const
const noise = [': a comment', ':', ':data: no', 'unknown: field', 'Data: no', 'retry', 'nothing'] as const

/** Writes blocks in unusual but valid forms of the standard (HTML, 9.2.5). */
export class Writer {
  readonly #random: Random
  readonly #lineEnd: string
  #start = true

  /** @param random - Decides line ends, spaces, comments, and other details that the standard leaves open. */
  constructor(random: Random) {
    this.#random = random
    this.#lineEnd = oneOf(['\n', '\n', '\r\n', '\r'], random())
  }

  bytesOf({ id, type, data }: Block): Buffer {
    const fields = [
      ...(id === undefined ? [] : [this.#field('id', id)]),
      ...(type === undefined ? [] : [this.#field('event', type)]),
    ]
    const lines = data?.split('\n').map((line) => this.#field('data', line)) ?? []
    // Only the order of data lines matters: the other fields go anywhere in the block.
    for (const field of fields) lines.splice(Math.floor(this.#random() * (lines.length + 1)), 0, field)
    const text = [...this.#noise(), ...lines.flatMap((line) => [line, ...this.#noise()]), '']
      .map((line) => line + this.#lineEnd)
      .join('')
    const mark = this.#start && this.#random() < 0.2 ? '\ufeff' : ''
    this.#start = false
    return Buffer.from(mark + text)
  }

  #field(name: string, value: string): string {
    if (value === '' && this.#random() < 0.3) return name
    return value.startsWith(' ') || this.#random() < 0.7 ? `${name}: ${value}` : `${name}:${value}`
  }

  #noise(): string[] {
    const chance = this.#random()
    if (chance < 0.85) return []
    if (chance < 0.88) return [`retry: ${oneOf<string>(reconnectionTimes, this.#random())}`]
    return [oneOf<string>(noise, this.#random())]
  }
}
