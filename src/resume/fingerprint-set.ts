const smallestCapacity = 64

/**
 * A set of fingerprints: a hash table with linear probing, 8 bytes a slot and at most three quarters full. A `Set` of numbers
 * beyond 31 bits takes about 50 bytes for each.
 */
export class FingerprintSet {
  #slots: Float64Array
  #count = 0

  /** @param expected - How many fingerprints the set can hold before it grows. */
  constructor(expected: number) {
    let capacity = smallestCapacity
    while (capacity * 0.75 < expected) capacity *= 2
    this.#slots = new Float64Array(capacity)
  }

  has(fingerprint: number): boolean {
    return this.#slots[this.#slotOf(fingerprint)] !== 0
  }

  add(fingerprint: number): void {
    const slot = this.#slotOf(fingerprint)
    if (this.#slots[slot] !== 0) return
    this.#slots[slot] = fingerprint + 1
    this.#count++
    if (this.#count > this.#slots.length * 0.75) this.#grow()
  }

  /** The slot of a fingerprint, or the empty slot where it belongs. A slot holds the fingerprint plus one; 0 is empty. */
  #slotOf(fingerprint: number): number {
    const slots = this.#slots
    const mask = slots.length - 1
    // The upper 32 of the 53 bits.
    let slot = (fingerprint / 0x200000) & mask
    while (slots[slot] !== 0 && slots[slot] !== fingerprint + 1) slot = (slot + 1) & mask
    return slot
  }

  #grow(): void {
    const before = this.#slots
    this.#slots = new Float64Array(before.length * 2)
    for (const value of before) if (value !== 0) this.#slots[this.#slotOf(value - 1)] = value
  }
}
