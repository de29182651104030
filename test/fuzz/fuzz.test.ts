import { expect } from 'chai'
import fc from 'fast-check'
import { properties, shareOf } from './properties.ts'

describe('for any input (a few cases; npm run fuzz has the rest)', () => {
  it('the shares of all properties add up to 100 %', () => {
    const runs = properties.map((each) => each.runs)
    expect(runs.reduce((a, b) => a + b)).to.equal(100)
    expect(new Set(properties.map(({ name }) => name)).size).to.equal(properties.length)
  })

  for (const each of properties) {
    it(each.name.replaceAll('-', ' '), async () => {
      await fc.assert(each.property, { numRuns: shareOf(each, 600) })
    })
  }
})
