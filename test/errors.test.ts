import { expect } from 'chai'
import { SseError } from '../src/errors.ts'

describe('SseError', () => {
  it('is an Error with a name, a code and a message', () => {
    const error = new SseError('ERR_SSE_DROPPED', 'gone')
    expect(error).to.be.instanceOf(Error)
    expect(error).to.include({ name: 'SseError', code: 'ERR_SSE_DROPPED', message: 'gone' })
    expect(String(error)).to.equal('SseError: gone')
  })

  it('has no frames in its stack, and leaves those of others', () => {
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

  it('has what its code tells besides', () => {
    const headers = { 'retry-after': '1' }
    const error = new SseError('ERR_SSE_STATUS', 'no', { statusCode: 503, retryAfter: 0, headers })
    expect(error).to.include({ statusCode: 503, retryAfter: 0, headers })
  })

  it('has no property for what it was not told', () => {
    for (const error of [
      new SseError('ERR_SSE_CONNECT', 'no'),
      new SseError('ERR_SSE_CONNECT', 'no', {}),
      new SseError('ERR_SSE_CONNECT', 'no', { cause: 1 }),
    ]) {
      for (const name of ['statusCode', 'retryAfter', 'headers']) expect(name in error, name).to.equal(false)
    }
    expect('cause' in new SseError('ERR_SSE_CONNECT', 'no')).to.equal(false)
    expect('cause' in new SseError('ERR_SSE_CONNECT', 'no', { statusCode: 500 })).to.equal(false)
  })

  it('keeps its cause, whatever that is', () => {
    const cause = new Error('why')
    expect(new SseError('ERR_SSE_CONNECT', 'no', { cause }).cause).to.equal(cause)
    const thrown = new SseError('ERR_SSE_CONNECT', 'no', { cause: undefined })
    expect(Object.hasOwn(thrown, 'cause')).to.equal(true)
    expect(thrown.cause).to.equal(undefined)
  })

  it('does not list its cause among its fields', () => {
    expect(Object.keys(new SseError('ERR_SSE_CONNECT', 'no', { cause: 1 }))).not.to.include('cause')
  })
})
