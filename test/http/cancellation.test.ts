import { getEventListeners } from 'node:events'
import { expect } from 'chai'
import { Cancellation, cancelSignalOf, offerCancelSignal } from '../../src/http/cancellation.ts'

describe('Cancellation', () => {
  it('calls each listener once, except for those that were removed', () => {
    const cancellation = new Cancellation()
    const calls: string[] = []
    const removed = () => calls.push('removed')
    cancellation.addEventListener('abort', () => calls.push('first'))
    cancellation.addEventListener('abort', removed)
    cancellation.addEventListener('abort', () => calls.push('second'))
    cancellation.removeEventListener('abort', removed)
    cancellation.abort(new Error('why'))
    cancellation.abort(new Error('again'))
    expect(calls).to.deep.equal(['first', 'second'])
  })

  it('calls the listeners that were there when it was aborted, although one of them removes another or adds one', () => {
    const cancellation = new Cancellation()
    const calls: string[] = []
    const second = () => calls.push('second')
    cancellation.addEventListener('abort', () => {
      cancellation.removeEventListener('abort', second)
      cancellation.addEventListener('abort', () => calls.push('late'))
    })
    cancellation.addEventListener('abort', second)
    cancellation.abort(new Error('why'))
    expect(calls).to.deep.equal(['second'])
  })

  it('has the first reason; without one an AbortError', () => {
    const reason = new Error('why')
    const cancellation = new Cancellation()
    expect(cancellation).to.include({ aborted: false, reason: undefined })
    cancellation.abort(reason)
    cancellation.abort(new Error('again'))
    expect(cancellation).to.include({ aborted: true, reason })
    const other = new Cancellation()
    other.abort()
    expect(other.reason).to.have.property('name', 'AbortError')
    expect(other.reason).to.equal(other.reason)
  })

  for (const when of ['before', 'after'] as const) {
    it(`has an AbortSignal, aborted for the same reason, that is asked for ${when} the abort`, () => {
      const cancellation = new Cancellation()
      const early = when === 'before' ? cancellation.abortSignal : undefined
      let heard = 0
      early?.addEventListener('abort', () => heard++)
      cancellation.abort()
      const signal = cancellation.abortSignal
      expect(signal).to.be.instanceOf(AbortSignal).and.include({ aborted: true, reason: cancellation.reason })
      expect(heard).to.equal(early ? 1 : 0)
      expect(cancellation.abortSignal).to.equal(early ?? signal)
    })
  }

  it('stands for the AbortSignal of an object that offers it, which is not made then', () => {
    const cancellation = new Cancellation()
    let made = 0
    const owner = {
      get signal() {
        made++
        return cancellation.abortSignal
      },
    }
    offerCancelSignal(owner, cancellation)
    expect(cancelSignalOf(owner)).to.equal(cancellation)
    expect(made).to.equal(0)
    // A copy has the AbortSignal alone.
    expect(cancelSignalOf({ ...owner })).to.equal(cancellation.abortSignal)
    expect(getEventListeners(cancellation.abortSignal, 'abort')).to.deep.equal([])
  })
})
