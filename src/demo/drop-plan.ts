import { createRandom, oneOf, type Random, shuffled } from './random.ts'

/** Every way in which the upstream misbehaves. */
export const dropKinds = ['end', 'reset', 'silence', 'unavailable', 'refused', 'cut', 'replay'] as const

export type DropKind = (typeof dropKinds)[number]

export interface PlannedDrop {
  readonly kind: DropKind
  /** From 0 to below 1: decides how exactly it is done. */
  readonly chance: number
}

/**
 * The drops of a run: when they are due, and how many there have been.
 *
 * They depend on nothing but the seed and the rate. Each kind has its turn once before any comes again. Between two
 * drops there are `1 / dropRate` events, give or take a half, so the number of drops has a lower bound too.
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

  /** Whether it is time for a drop. */
  get isDue(): boolean {
    return this.#eventsUntilDrop === 0
  }

  /** Notes that an event was sent. */
  countEvent(): void {
    if (this.#eventsUntilDrop > 0) this.#eventsUntilDrop--
  }

  /** The drop that is due; the distance to the one after starts here. */
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
