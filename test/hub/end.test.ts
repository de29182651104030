import { expect } from 'chai'
import { endOf, errorIn } from '../../src/hub/end.ts'

describe('the end of a shared stream', () => {
  it('holds why the stream failed, also where the error has no message of its own', () => {
    const reasonOf = (error: Error) => errorIn(endOf(1, undefined, error)).message
    expect(reasonOf(new Error('why'))).to.equal('why')
    expect(reasonOf(new AggregateError([new Error('one'), new Error('other')]))).to.equal('one, other')
    expect(endOf(1, undefined, undefined)).to.include({ how: 'ended', reason: undefined })
  })
})
