import { expect } from 'chai'
import { reasonOf, SseError } from '../src/errors.ts'

describe('SseError', () => {
  it('is an Error with a name, a code and a message', () => {
    const error = new SseError('ERR_SSE_DROPPED', 'gone')
    expect(error).to.be.instanceOf(Error)
    expect(error).to.include({ name: 'SseError', code: 'ERR_SSE_DROPPED', message: 'gone' })
    expect(String(error)).to.equal('SseError: gone')
  })

  it('has no frames in its stack, and does not affect the stacks of other errors', () => {
    const { stackTraceLimit } = Error
    expect(new SseError('ERR_SSE_DROPPED', 'gone').stack).to.equal('SseError: gone')
    expect(Error.stackTraceLimit).to.equal(stackTraceLimit)
    expect(new Error('own').stack).to.include('errors.test.ts')
    // @ts-expect-error a message that cannot be made a string
    expect(() => new SseError('ERR_SSE_DROPPED', { toString: 1, valueOf: 1 })).to.throw(TypeError)
    // @ts-expect-error a number instead of the details
    expect(() => new SseError('ERR_SSE_DROPPED', 'gone', 1)).to.throw(TypeError)
    expect(Error.stackTraceLimit).to.equal(stackTraceLimit)
  })

  it('has the details that belong to its code', () => {
    const headers = { 'retry-after': '1' }
    const error = new SseError('ERR_SSE_STATUS', 'no', { statusCode: 503, retryAfter: 0, headers })
    expect(error).to.include({ statusCode: 503, retryAfter: 0, headers })
  })

  it('has sent, true or false', () => {
    for (const sent of [true, false]) {
      expect(new SseError('ERR_SSE_CONNECT', 'no', { sent })).to.include({ sent })
    }
  })

  it('has no property for an absent detail', () => {
    for (const error of [
      new SseError('ERR_SSE_CONNECT', 'no'),
      new SseError('ERR_SSE_CONNECT', 'no', {}),
      new SseError('ERR_SSE_CONNECT', 'no', { cause: 1 }),
    ]) {
      for (const name of ['statusCode', 'retryAfter', 'headers', 'sent'])
        expect(name in error, name).to.equal(false)
    }
    expect('cause' in new SseError('ERR_SSE_CONNECT', 'no')).to.equal(false)
    expect('cause' in new SseError('ERR_SSE_CONNECT', 'no', { statusCode: 500 })).to.equal(false)
  })

  it('keeps any value as its cause', () => {
    const cause = new Error('why')
    expect(new SseError('ERR_SSE_CONNECT', 'no', { cause }).cause).to.equal(cause)
    const thrown = new SseError('ERR_SSE_CONNECT', 'no', { cause: undefined })
    expect(Object.hasOwn(thrown, 'cause')).to.equal(true)
    expect(thrown.cause).to.equal(undefined)
  })

  it('does not have its cause among its enumerable properties', () => {
    expect(Object.keys(new SseError('ERR_SSE_CONNECT', 'no', { cause: 1 }))).not.to.include('cause')
  })
})

describe('reasonOf', () => {
  const refused = (where: string) => new Error(`connect ECONNREFUSED ${where}`)
  for (const [what, thrown, reason] of [
    ['the message of an error', refused('::1:1'), 'connect ECONNREFUSED ::1:1'],
    [
      'the errors of an aggregate without a message',
      new AggregateError([refused('::1:1'), refused('127.0.0.1:1')]),
      'ECONNREFUSED ::1:1, ECONNREFUSED 127.0.0.1:1',
    ],
    ['the message of an aggregate', new AggregateError([refused('::1:1')], 'all failed'), 'all failed'],
    ['an aggregate in an aggregate', new AggregateError([new AggregateError([new Error('in')])]), 'in'],
    ['an empty aggregate', new AggregateError([]), 'AggregateError'],
    ['an error without a message', new RangeError(), 'RangeError'],
    ['an error without a name', Object.assign(new Error(), { name: '' }), 'Error'],
    ['a string', 'text', 'text'],
    ['an empty string', '', '""'],
    ['nothing', undefined, 'undefined'],
    ['what cannot be made a string', Object.create(null), '[object Object]'],
  ] as const) {
    it(`returns a reason for ${what}`, () => {
      expect(reasonOf(thrown)).to.equal(reason)
    })
  }
})
