import { expect } from 'chai'
import fc from 'fast-check'
import { fingerprintOf } from '../../src/resume/window.ts'

/** Code units of all kinds, also halves of surrogate pairs. */
const units = fc.oneof(fc.nat(127), fc.nat(255), fc.nat(65_535))
const lengths = [1, 22, 23, 24, 25, 200, 2047, 2048, 2049, 4096, 10_001]
const text = fc
  .tuple(fc.constantFrom(...lengths), fc.array(units, { minLength: 1, maxLength: 40 }))
  .map(([length, some]) =>
    String.fromCharCode(...some)
      .repeat(length)
      .slice(0, length),
  )

describe('the fingerprint of texts', () => {
  it('is the same for a text and for a part of a longer text', () => {
    fc.assert(
      fc.property(text, text, (one, other) => {
        const part = `${other}${one}${other}`.slice(other.length, other.length + one.length)
        expect(fingerprintOf([part, 'end'])).to.equal(fingerprintOf([one, 'end']))
      }),
    )
  })

  it('differs when one code unit of a text differs, wherever that is', () => {
    fc.assert(
      fc.property(text, fc.nat(), units, (one, place, unit) => {
        const at = place % one.length
        fc.pre(one.charCodeAt(at) !== unit)
        const other = one.slice(0, at) + String.fromCharCode(unit) + one.slice(at + 1)
        expect(fingerprintOf([other])).to.not.equal(fingerprintOf([one]))
      }),
    )
  })

  it('differs when a text is longer by a NUL, or is divided otherwise', () => {
    fc.assert(
      fc.property(text, fc.nat(), (one, place) => {
        const at = place % one.length
        expect(fingerprintOf([`${one}\0`])).to.not.equal(fingerprintOf([one]))
        expect(fingerprintOf([one.slice(0, at), one.slice(at)])).to.not.equal(fingerprintOf([one]))
      }),
    )
  })

  it('does not depend on the texts before', () => {
    fc.assert(
      fc.property(text, text, (one, before) => {
        const alone = fingerprintOf([one])
        fingerprintOf([before])
        expect(fingerprintOf([one])).to.equal(alone)
      }),
    )
  })
})
