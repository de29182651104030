import { setTimeout as sleep } from 'node:timers/promises'
import type { StreamStore } from '../../src/index.ts'
import type { Random } from '../support/flaky-upstream.ts'

/** The connection of one hub to a store: it may be slow, fail before or after a call was carried out, or be silent for a time. */
export class FaultyStore implements StreamStore {
  readonly #store: StreamStore
  readonly #random: Random
  /** The share of calls that fail, and of wakes that are lost. */
  readonly #faults: number
  #silence: Promise<unknown> | undefined

  constructor(store: StreamStore, random: Random, faults: number) {
    this.#store = store
    this.#random = random
    this.#faults = faults
  }

  /** Carries out no call for a time, in milliseconds; calls that wait are carried out afterwards. */
  pause(duration: number): void {
    this.#silence = sleep(duration).then(() => {
      this.#silence = undefined
    })
  }

  open(...args: Parameters<StreamStore['open']>) {
    return this.#call(() => this.#store.open(...args))
  }

  append(...args: Parameters<StreamStore['append']>) {
    return this.#call(() => this.#store.append(...args))
  }

  renew(...args: Parameters<StreamStore['renew']>) {
    return this.#call(() => this.#store.renew(...args))
  }

  read(...args: Parameters<StreamStore['read']>) {
    return this.#call(() => this.#store.read(...args))
  }

  watch(stream: string, wake: () => void): () => void {
    return this.#store.watch(stream, () => {
      if (!this.#silence && this.#random() >= this.#faults) wake()
    })
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    if (this.#faults === 0 && !this.#silence) return call()
    await this.#silence
    const chance = this.#random()
    if (chance < this.#faults / 2) throw new Error('the call was lost')
    if (this.#random() < 0.3) await sleep(20 * this.#random())
    const answer = await call()
    if (chance < this.#faults) throw new Error('the answer was lost')
    if (this.#random() < 0.3) await sleep(20 * this.#random())
    return answer
  }
}
