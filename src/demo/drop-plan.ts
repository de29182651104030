import { createRandom, oneOf, type Random, shuffled } from './random.ts'

/** All kinds of drops. */
export const dropKinds = ['end', 'reset', 'silence', 'unavailable', 'refused', 'cut', 'replay'] as const

export type DropKind = (typeof dropKinds)[number]

export interface PlannedDrop {
  readonly kind: DropKind
  /** A number from 0 to below 1, which decides the details of the drop. */
  readonly chance: number
}

/**
 * The drops of a run: when they are due, and how many were made.
 *
 * The drops depend only on the seed and the rate. Each kind comes once before any kind repeats. Between two drops there are
 * from 0.5 to 1.5 times `1 / dropRate` events, so that a run of a given length has a minimum number of drops.
 */
export class DropPlan {
  readonly counts: Record<DropKind, number> = {
    end: 0,
    reset: 0,
    silence: 0,
    unavailable: 0,
    refused: 0,
    cut: 0,
    replay: 0,
  }
  readonly #random: Random
  readonly #dropRate: number
  readonly #firstKinds: DropKind[]
  #eventsUntilDrop: number

  constructor(seed: number, dropRate: number) {
    this.#random = createRandom(seed)
    this.#dropRate = dropRate
    this.#firstKinds = shuffled(dropKinds, this.#random)
    this.#eventsUntilDrop = this.#drawDistance()
  }

  /** Whether a drop is due. */
  get isDue(): boolean {
    return this.#eventsUntilDrop === 0
  }

  /** Notes that an event was sent. */
  countEvent(): void {
    if (this.#eventsUntilDrop > 0) this.#eventsUntilDrop--
  }

  /** Returns the drop that is due, and schedules the next drop. */
  next(): PlannedDrop {
    const chance = this.#random()
    const kind = this.#firstKinds.shift() ?? oneOf(dropKinds, this.#random())
    this.#eventsUntilDrop = this.#drawDistance()
    this.counts[kind]++
    return { kind, chance }
  }

  #drawDistance(): number {
    return Math.max(1, Math.round((0.5 + this.#random()) / this.#dropRate))
  }
}
