import type { Entry } from './store.ts'

/** The most entries that one read asks for. */
const mostEntries = 8192

/** How much larger than others the entries of a stream must be to be remembered, and how many streams are. */
const outlier = 2
const mostRemembered = 1000

/** How many entries make a page. Redis counts entries, and a reader wants bytes: 63 entries of 16 kB would be 1 MB for a page of 64 kB. */
export class RedisPageSize {
  /** The mean size of the entries of most streams, in bytes. */
  #usual = 1024
  /** The mean sizes of streams whose entries are much larger, by key; the one that was read last is the last. */
  readonly #large = new Map<string, number>()

  /**
   * How many entries to ask for. Powers of two, because one command reads many logs that ask for as many entries.
   *
   * @param limit - The wanted number of bytes.
   */
  entriesFor(key: string, limit: number): number {
    const wanted = limit / (this.#large.get(key) ?? this.#usual)
    return Math.min(mostEntries, 2 ** Math.round(Math.log2(Math.max(1, wanted))))
  }

  /** Called with the entries that were read. */
  note(key: string, entries: readonly Entry[]): void {
    let bytes = 0
    let count = 0
    for (const entry of entries) {
      if (entry.kind !== 'events') continue
      bytes += entry.bytes.length
      count++
    }
    if (count === 0) return
    const mean = bytes / count
    this.#large.delete(key)
    if (mean > outlier * this.#usual) this.#remember(key, Math.ceil(mean))
    this.#usual += (Math.min(mean, outlier * this.#usual) - this.#usual) / 16
  }

  #remember(key: string, size: number): void {
    this.#large.set(key, size)
    for (const oldest of this.#large.keys()) {
      if (this.#large.size <= mostRemembered) break
      this.#large.delete(oldest)
    }
  }
}
