/** The lease of a stream, as `src/hub/redis-scripts.ts` writes it. */
interface Held {
  /** In milliseconds, on Redis' clock. */
  readonly endsAt: number
  readonly epoch: string
  readonly owner: string
}

/** A command of a script, as MONITOR tells it: the lease is set or deleted. */
const change =
  /^\S+ \[\d+ lua\] "(SET|DEL)" "rs:\{model\}:lease"(?: "(\d+) (\d+) \S* ([^"]*)" "PX" "(\d+)")?$/

/** Follows the lease of the stream `model` through what MONITOR tells, on Redis' own clock. */
export class LeaseWatch {
  readonly faults: string[] = []
  /** The number of times that a process took over from an owner whose lease had run out. */
  expired = 0
  /** The number of epochs that were opened. */
  readonly epochs = new Set<string>()
  readonly #keepFor: number
  #held: Held | undefined

  /** @param keepFor - How long after the lease the log is kept, in milliseconds. */
  constructor(keepFor: number) {
    this.#keepFor = keepFor
  }

  note(line: string): void {
    const [, command, endsAt = '', epoch = '', owner = '', life] = change.exec(line) ?? []
    if (command === 'DEL') this.#held = undefined
    if (command !== 'SET') return
    // A key that expires before its lease lets a second owner in; a key without a time to live is never removed.
    const lease = Number(life) - this.#keepFor
    if (!(lease > 0)) this.faults.push(`the lease of epoch ${epoch} has no time to live: ${line}`)
    const now = Number(endsAt) - lease
    const former = this.#held
    this.#held = { endsAt: Number(endsAt), epoch, owner }
    this.epochs.add(epoch)
    if (!former || former.owner === owner) return
    if (former.endsAt > now)
      this.faults.push(
        `epoch ${epoch} was opened ${former.endsAt - now} ms before the lease of epoch ${former.epoch} had ended`,
      )
    this.expired++
  }
}
