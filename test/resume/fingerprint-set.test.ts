import { expect } from 'chai'
import { FingerprintSet } from '../../src/resume/fingerprint-set.ts'
import { fingerprintOf } from '../../src/resume/window.ts'

describe('FingerprintSet', () => {
  it('has the fingerprints that were added, and no others, however far it has grown', () => {
    const set = new FingerprintSet(0)
    const [added, others] = ['added', 'other'].map((name) =>
      Array.from({ length: 5000 }, (_, n) => fingerprintOf([name, `${n}`])),
    )
    for (const fingerprint of added ?? []) set.add(fingerprint)
    expect(added?.every((fingerprint) => set.has(fingerprint))).to.equal(true)
    expect(others?.some((fingerprint) => set.has(fingerprint))).to.equal(false)
  })

  it('has the least and the greatest fingerprint only after they were added', () => {
    for (const fingerprint of [0, 2 ** 53 - 1]) {
      const set = new FingerprintSet(1)
      expect(set.has(fingerprint)).to.equal(false)
      set.add(fingerprint)
      expect(set.has(fingerprint)).to.equal(true)
    }
  })

  it('tells fingerprints of one slot apart, also in the last slot', () => {
    const set = new FingerprintSet(200)
    const upper = 0xffffffff * 0x200000
    for (let n = 0; n < 150; n++) set.add(upper + n)
    expect(Array.from({ length: 300 }, (_, n) => set.has(upper + n))).to.deep.equal(
      Array.from({ length: 300 }, (_, n) => n < 150),
    )
  })

  it('agrees with a Set', () => {
    const set = new FingerprintSet(10)
    const peer = new Set<number>()
    for (let n = 0; n < 20_000; n++) {
      const arbitrary = fingerprintOf([`${n}`])
      const fingerprint = (arbitrary % 3000) * 0x200000 + (arbitrary % 3)
      expect(set.has(fingerprint)).to.equal(peer.has(fingerprint))
      set.add(fingerprint)
      peer.add(fingerprint)
    }
  })
})
