import { expect } from 'chai'
import fc from 'fast-check'
import { IdLine } from '../../src/hub/id-line.ts'
import { formatId } from '../../src/hub/position-id.ts'

const epoch = 1_764_000_000_000

function textOf(line: IdLine): string {
  const target = Buffer.alloc(line.size + 8, '.')
  const end = line.copyTo(target, 4)
  expect(end).to.equal(4 + line.size)
  expect(target.toString('latin1', end)).to.equal('....')
  return target.toString('utf8', 4, end)
}

describe('the id line of one event after another', () => {
  it('counts', () => {
    const line = new IdLine(epoch, 'a')
    for (let seq = 0; seq <= 12_345; seq++) {
      if (seq > 0) line.next()
      expect(line.seq).to.equal(seq)
      expect(textOf(line)).to.equal(`id: ${formatId({ epoch, seq }, 'a')}\n`)
    }
    expect(line.cursor).to.equal('a')
  })

  it("has the place of the upstream, which is its latest event's id", () => {
    const id = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', '/', '0', '~'), maxLength: 80 }),
      fc.string({ unit: 'binary', maxLength: 20 }),
    )
    const ids = fc.array(fc.option(id, { nil: undefined }), { maxLength: 30 })
    fc.assert(
      fc.property(fc.option(id, { nil: undefined }), ids, fc.nat(9), (start, ids, skipped) => {
        // The bytes of an id: a lone surrogate has none.
        const wire = (text: string) => Buffer.from(`<${text}>`)
        let cursor = start === '' ? undefined : start
        const line = new IdLine(epoch, cursor)
        let seq = 0
        for (; seq < skipped; seq++) line.next()
        for (const id of ids) {
          const bytes = wire(id ?? '')
          const most = line.mostWith(bytes.length - 2)
          if (id !== undefined) line.follow(bytes, 1, bytes.length - 1)
          if (id !== undefined) cursor = bytes.toString('utf8', 1, bytes.length - 1) || undefined
          line.next()
          seq++
          expect(textOf(line)).to.equal(`id: ${formatId({ epoch, seq }, cursor)}\n`)
          if (id !== undefined) expect(line.size).to.be.at.most(most)
          expect(line.cursor).to.equal(cursor)
        }
      }),
    )
  })
})
