import { expect } from 'chai'
import fc from 'fast-check'
import { SseError, type SseErrorCode, type SseErrorDetails } from '../../src/errors.ts'
import {
  type Delay,
  type DelayInput,
  type DelayOptions,
  delayOf,
  isRetryable,
} from '../../src/reconnect/delay.ts'

const options: DelayOptions = {
  baseDelay: 1000,
  maxDelay: 30_000,
  minDelay: 100,
  jitter: 0.1,
  maxRetryAfter: 300_000,
}

/** The delay with the defaults, of the first retry and nothing else, but for what is given. */
function delay(random: number, input: Partial<DelayInput> = {}, other: Partial<DelayOptions> = {}): Delay {
  return delayOf({ ...options, ...other }, { retry: 0, reconnectionTime: undefined, ...input }, () => random)
}

describe('delayOf', () => {
  describe('backoff', () => {
    const full = [1000, 2000, 4000, 8000, 16_000]
    for (let retry = 0; retry <= 40; retry++) {
      const most = full[retry] ?? 30_000
      it(`of retry ${retry} is ${most} ms, less up to a tenth`, () => {
        expect(delay(0, { retry })).to.deep.equal({ delay: most, source: 'backoff' })
        expect(delay(0.5, { retry }).delay).to.be.closeTo(most * 0.95, 1e-6)
        expect(delay(0.999999, { retry }).delay).to.be.closeTo(most * 0.9000001, 1e-6)
      })
    }

    it('stays at the cap after any number of retries', () => {
      expect(delay(0, { retry: 5000 }).delay).to.equal(30_000)
    })

    it('is spread below the cap, so that streams do not synchronize there', () => {
      const delays = [0, 0.25, 0.5, 0.75].map((random) => delay(random, { retry: 20 }).delay)
      expect(delays).to.deep.equal([30_000, 29_250, 28_500, 27_750])
    })

    it('is not spread without jitter, and anything from 0 with jitter 1', () => {
      expect(delay(0.999999, {}, { jitter: 0 }).delay).to.equal(1000)
      expect(delay(0, {}, { jitter: 1 }).delay).to.equal(1000)
      expect(delay(0.5, {}, { jitter: 1 }).delay).to.equal(500)
      expect(delay(0.999999, {}, { jitter: 1 }).delay).to.be.closeTo(0.001, 1e-6)
    })

    it('never exceeds maxDelay, even if baseDelay does', () => {
      expect(delay(0, {}, { baseDelay: 60_000 }).delay).to.equal(30_000)
    })

    it("may start below minDelay, which limits only the upstream's retry:", () => {
      expect(delay(0, {}, { baseDelay: 10 }).delay).to.equal(10)
    })

    it('uses one random number', () => {
      let taken = 0
      const random = () => {
        taken++
        return 0.5
      }
      delayOf(options, { retry: 3, reconnectionTime: 50, retryAfter: 60_000 }, random)
      expect(taken).to.equal(1)
    })
  })

  describe("the upstream's retry:", () => {
    for (const [reconnectionTime, base] of [
      [0, 100],
      [99, 100],
      [100, 100],
      [101, 101],
      [5000, 5000],
      [30_000, 30_000],
      [30_001, 30_001],
      [300_000, 300_000],
      [300_001, 300_000],
      [2 ** 32, 300_000],
      [99_999_999_999, 300_000],
      [Number.POSITIVE_INFINITY, 300_000],
    ] as const) {
      it(`of ${reconnectionTime} makes the first delay ${base} ms, and up to a tenth more`, () => {
        expect(delay(0, { reconnectionTime })).to.deep.equal({ delay: base, source: 'retry' })
        const tenth = Math.min(base, 30_000) / 10
        expect(delay(0.5, { reconnectionTime }).delay).to.be.closeTo(base + tenth / 2, 1e-6)
        expect(delay(0.999999, { reconnectionTime }).delay).to.be.closeTo(base + tenth * 0.999999, 1e-6)
      })
    }

    it('is doubled for each retry, with jitter that never shortens a delay below it', () => {
      expect(delay(0, { reconnectionTime: 300, retry: 3 }).delay).to.equal(2400)
      expect(delay(0.5, { reconnectionTime: 300, retry: 3 }).delay).to.be.closeTo(2280, 1e-6)
      expect(delay(0.75, { reconnectionTime: 300, retry: 1 }, { jitter: 1 }).delay).to.equal(750)
    })

    it('is not doubled beyond maxDelay, and not shortened to maxDelay', () => {
      expect(delay(0, { reconnectionTime: 300, retry: 30 }).delay).to.equal(30_000)
      expect(delay(0, { reconnectionTime: 40_000, retry: 3 }).delay).to.equal(40_000)
      expect(delay(0, { reconnectionTime: Number.POSITIVE_INFINITY, retry: 2000 }).delay).to.equal(300_000)
    })

    it('is a lower bound up to maxRetryAfter, and above it only the base of the backoff', () => {
      expect(delay(0.5, { reconnectionTime: 5000 }, { maxRetryAfter: 0 }).delay).to.equal(4750)
      expect(delay(0.5, { reconnectionTime: 5000 }, { maxRetryAfter: 4750 }).delay).to.equal(4750)
      expect(delay(0.5, { reconnectionTime: 5000 }, { maxRetryAfter: 4800 }).delay).to.equal(5050)
    })
  })

  describe('Retry-After', () => {
    it('is a lower bound', () => {
      expect(delay(0, { retryAfter: 5000 })).to.deep.equal({ delay: 5000, source: 'retry-after' })
      expect(delay(0, { retryAfter: 5000, reconnectionTime: 100 }).source).to.equal('retry-after')
    })

    it('is extended by the jitter of the delay that it replaces', () => {
      expect(delay(0.5, { retryAfter: 5000 }).delay).to.be.closeTo(5050, 1e-6)
      expect(delay(0.999999, { retryAfter: 5000 }).delay).to.be.closeTo(5099.9999, 1e-6)
      expect(delay(0.5, { retryAfter: 60_000, retry: 20 }).delay).to.be.closeTo(61_500, 1e-6)
      expect(delay(0.5, { retryAfter: 5000 }, { jitter: 0 }).delay).to.equal(5000)
    })

    it('has no effect on a longer delay', () => {
      expect(delay(0, { retryAfter: 999 })).to.deep.equal({ delay: 1000, source: 'backoff' })
      expect(delay(0, { retryAfter: 0 })).to.deep.equal({ delay: 1000, source: 'backoff' })
      expect(delay(0, { retryAfter: 200, reconnectionTime: 300 })).to.deep.equal({
        delay: 300,
        source: 'retry',
      })
    })

    it('is capped at maxRetryAfter', () => {
      for (const retryAfter of [300_001, 2 ** 32, Number.POSITIVE_INFINITY]) {
        expect(delay(0, { retryAfter }).delay, String(retryAfter)).to.equal(300_000)
      }
      expect(delay(0, { retryAfter: 60_000 }, { maxRetryAfter: 0 })).to.deep.equal({
        delay: 1000,
        source: 'backoff',
      })
    })

    it('may be longer than maxDelay', () => {
      expect(delay(0, { retryAfter: 60_000 }).delay).to.equal(60_000)
    })
  })

  describe('after a clean end with progress', () => {
    it('is 0 to a tenth of the base when the connection opened longer ago than the base', () => {
      for (const sinceOpen of [1000, 1001, 60_000]) {
        expect(delay(0, { sinceOpen })).to.deep.equal({ delay: 0, source: 'clean-end' })
        expect(delay(0.5, { sinceOpen }).delay).to.be.closeTo(50, 1e-6)
        expect(delay(0.999999, { sinceOpen }).delay).to.be.closeTo(99.9999, 1e-6)
      }
    })

    it('is extended until the base has passed since the open', () => {
      expect(delay(0, { sinceOpen: 0 }).delay).to.equal(1000)
      expect(delay(0, { sinceOpen: 400 }).delay).to.equal(600)
      expect(delay(0.5, { sinceOpen: 400 }).delay).to.be.closeTo(650, 1e-6)
    })

    it("uses the upstream's retry: as the base", () => {
      expect(delay(0, { sinceOpen: 0, reconnectionTime: 0 })).to.deep.equal({
        delay: 100,
        source: 'clean-end',
      })
      expect(delay(0, { sinceOpen: 0, reconnectionTime: 5000 }).delay).to.equal(5000)
    })

    it("is no shorter than the upstream's retry:, however long the connection was open", () => {
      for (const sinceOpen of [0, 3000, 5000, 1e9]) {
        expect(delay(0, { sinceOpen, reconnectionTime: 5000 }).delay).to.equal(5000)
        expect(delay(0.5, { sinceOpen, reconnectionTime: 5000 }).delay).to.equal(5250)
      }
      expect(delay(0, { sinceOpen: 1e9, reconnectionTime: 0 }).delay).to.equal(100)
      expect(delay(0, { sinceOpen: 1e9, reconnectionTime: 40_000 }).delay).to.equal(40_000)
      expect(delay(0, { sinceOpen: 1e9, reconnectionTime: Number.POSITIVE_INFINITY }).delay).to.equal(300_000)
    })
  })

  const longest = 2 ** 31 - 1
  const time = fc.oneof(
    fc.constantFrom(1, longest),
    fc.integer({ min: 1, max: longest }),
    fc.double({ min: 1, max: longest, noNaN: true }),
  )
  const allRules: fc.Arbitrary<DelayOptions> = fc.record({
    baseDelay: time,
    maxDelay: time,
    minDelay: time,
    jitter: fc.oneof(fc.constantFrom(0, 0.1, 1), fc.double({ min: 0, max: 1, noNaN: true })),
    maxRetryAfter: fc.oneof(fc.constant(0), time),
  })
  const anyTime = fc.oneof(
    fc.constantFrom(0, 2 ** 32, Number.POSITIVE_INFINITY),
    fc.double({ min: 0, max: 1e12, noNaN: true }),
  )
  const occasions: fc.Arbitrary<DelayInput> = fc.record({
    retry: fc.oneof(fc.nat(40), fc.nat(5000)),
    reconnectionTime: fc.option(anyTime, { nil: undefined }),
    retryAfter: fc.option(anyTime, { nil: undefined }),
    sinceOpen: fc.option(fc.double({ min: 0, max: 1e12, noNaN: true }), { nil: undefined }),
  })
  const randoms = fc.oneof(
    fc.constantFrom(0, 1 - Number.EPSILON / 2),
    fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  )

  it('is within the documented bounds for any options and inputs', () => {
    fc.assert(
      fc.property(allRules, occasions, randoms, (all, input, random) => {
        const { baseDelay, maxDelay, minDelay, jitter, maxRetryAfter } = all
        const { retry, reconnectionTime: asked, retryAfter = 0, sinceOpen } = input
        const base = Math.min(maxDelay, asked === undefined ? baseDelay : Math.max(minDelay, asked))
        const full = Math.min(maxDelay, base * 2 ** retry)
        const byRetry = asked === undefined ? 0 : Math.max(minDelay, Math.min(asked, maxRetryAfter))
        const floor = Math.max(byRetry, Math.min(retryAfter, maxRetryAfter))
        const { delay, source } = delayOf(all, input, () => random)
        const slack = 1e-6 + delay * 1e-12
        if (sinceOpen !== undefined) {
          const least = Math.max(byRetry, base - sinceOpen)
          expect(source).to.equal('clean-end')
          expect(delay).to.be.within(Math.min(least, longest), least + jitter * base + slack)
        } else if (delay > full) {
          expect(source).to.equal(floor > byRetry ? 'retry-after' : 'retry')
          expect(delay).to.be.within(Math.min(floor, longest), floor + jitter * full + slack)
        } else {
          expect(delay).to.be.within(Math.max(0, full - jitter * full - slack), full)
          expect(delay).to.be.at.least(Math.min(floor, longest))
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('is never longer than the longest timer of Node, because a longer timer fires at once', () => {
    fc.assert(
      fc.property(allRules, occasions, randoms, (all, input, random) => {
        expect(delayOf(all, input, () => random).delay).to.be.within(0, longest)
      }),
      { numRuns: 2000 },
    )
  })

  it('is the longest timer for a longer Retry-After', () => {
    const retryAfter = Number.POSITIVE_INFINITY
    expect(delay(0.5, { retryAfter }, { maxRetryAfter: longest }).delay).to.equal(longest)
  })
})

describe('isRetryable', () => {
  const table: Readonly<Record<Exclude<SseErrorCode, 'ERR_SSE_STATUS'>, readonly [boolean, boolean]>> = {
    ERR_SSE_CONNECT: [true, true],
    ERR_SSE_CONNECT_TIMEOUT: [true, true],
    ERR_SSE_CONTENT_TYPE: [false, true],
    ERR_SSE_DROPPED: [true, true],
    ERR_SSE_IDLE_TIMEOUT: [true, true],
    ERR_SSE_EVENT_TOO_LARGE: [false, false],
    ERR_SSE_NOT_RESUMABLE: [false, false],
    ERR_SSE_RETRIES_EXHAUSTED: [false, false],
    ERR_SSE_STORE: [false, false],
    ERR_SSE_STREAM_UNKNOWN: [false, false],
    ERR_SSE_STREAM_GONE: [false, false],
    ERR_SSE_STREAM_FAILED: [false, false],
    ERR_SSE_SLOW_CLIENT: [false, false],
    ERR_SSE_HUB_CLOSED: [false, false],
  }
  const isCode = (code: string): code is keyof typeof table => Object.hasOwn(table, code)
  for (const code of Object.keys(table).filter(isCode)) {
    const [before, after] = table[code]
    it(`returns ${before} for ${code} before an event was passed on, and ${after} afterwards`, () => {
      const error = new SseError(code, 'no')
      expect(isRetryable(error, { passedOn: false, once: false })).to.equal(before)
      expect(isRetryable(error, { passedOn: true, once: false })).to.equal(after)
    })
  }

  it('returns true for the statuses 408, 425, 429 and 5xx only, before and after an event', () => {
    for (let statusCode = 300; statusCode <= 599; statusCode++) {
      const error = new SseError('ERR_SSE_STATUS', 'no', { statusCode })
      const expected = [408, 425, 429].includes(statusCode) || statusCode >= 500
      expect(isRetryable(error, { passedOn: false, once: false }), `${statusCode} before`).to.equal(expected)
      expect(isRetryable(error, { passedOn: true, once: false }), `${statusCode} after`).to.equal(expected)
    }
  })

  it('returns true for a request that is sent once only when it is known not to have been processed', () => {
    const retryable = (code: SseErrorCode, details: SseErrorDetails = {}) =>
      isRetryable(new SseError(code, 'no', details), { passedOn: false, once: true })
    expect(retryable('ERR_SSE_CONNECT', { sent: false })).to.equal(true)
    expect(retryable('ERR_SSE_CONNECT', { sent: true })).to.equal(false)
    expect(retryable('ERR_SSE_CONNECT')).to.equal(false)
    for (const code of ['ERR_SSE_CONNECT_TIMEOUT', 'ERR_SSE_DROPPED', 'ERR_SSE_IDLE_TIMEOUT'] as const)
      expect(retryable(code), code).to.equal(false)
    expect(retryable('ERR_SSE_STATUS', { statusCode: 503 })).to.equal(true)
    expect(retryable('ERR_SSE_STATUS', { statusCode: 404 })).to.equal(false)
    const page = new SseError('ERR_SSE_CONTENT_TYPE', 'no')
    expect(isRetryable(page, { passedOn: true, once: true })).to.equal(false)
  })

  it('ignores the status of an error with another code', () => {
    const error = new SseError('ERR_SSE_CONTENT_TYPE', 'no', { statusCode: 503 })
    expect(isRetryable(error, { passedOn: false, once: false })).to.equal(false)
  })
})
