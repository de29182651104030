import { expect } from 'chai'
import { checkSourceOptions, reconnectOptions, sourceOptions } from '../../src/reconnect/options.ts'
import { EventTracker } from '../../src/resume/tracker.ts'
import { createResilientSseSource } from '../../src/source.ts'

const factory = () => {
  throw new Error('nobody reads')
}

/** Makes a source the way a caller without types can. */
const make = (factory: unknown, options?: unknown) =>
  // @ts-expect-error anything goes in
  createResilientSseSource(factory, options)

/** What it throws; the name of the option and what it got must be in the message. */
function refuses(options: unknown, type: typeof TypeError | typeof RangeError, name: string, got: string) {
  const quoted = `${name} .*\\bgot ${got.replace(/[[\]"\\.]/g, '\\$&')}$`
  it(`refuses ${name} ${got} with a ${type.name}`, () => {
    expect(() => make(factory, options)).to.throw(type, new RegExp(quoted, 's'))
  })
}

const longest = 2 ** 31 - 1

/** Values that are no number, and how a message shows them. */
const notNumbers: readonly [unknown, string][] = [
  ['5', '"5"'],
  [null, 'null'],
  [true, 'true'],
  [5n, '5'],
  [{}, '[object Object]'],
]

describe('createResilientSseSource', () => {
  for (const [value, shown] of [
    [undefined, 'undefined'],
    [null, 'null'],
    ['http://host', '"http://host"'],
    [new URL('http://host'), '[object URL]'],
    [{ url: 'http://host' }, '[object Object]'],
  ] as const) {
    it(`refuses ${value} as a factory`, () => {
      expect(() => make(value)).to.throw(TypeError, `factory must be a function, got ${shown}`)
    })
  }

  it('accepts absent options, and empty options', () => {
    expect(() => make(factory)).not.to.throw()
    expect(() => make(factory, undefined)).not.to.throw()
    expect(() => make(factory, {})).not.to.throw()
    expect(() => make(factory, { reconnect: {} })).not.to.throw()
  })

  describe('options as a whole', () => {
    refuses(null, TypeError, 'options', 'null')
    refuses(5, TypeError, 'options', '5')
    refuses('x', TypeError, 'options', '"x"')
    refuses({ reconnect: null }, TypeError, 'reconnect', 'null')
    refuses({ reconnect: false }, TypeError, 'reconnect', 'false')
    refuses({ reconnect: 5 }, TypeError, 'reconnect', '5')
  })

  describe('times', () => {
    const times: readonly [string, number, number][] = [
      ['connectTimeout', 0, longest],
      ['idleTimeout', 0, longest],
      ['reconnect.baseDelay', 1, longest],
      ['reconnect.maxDelay', 1, longest],
      ['reconnect.minDelay', 1, longest],
      ['reconnect.maxRetryAfter', 0, longest],
      ['reconnect.stableAfter', 0, Number.POSITIVE_INFINITY],
      ['reconnect.jitter', 0, 1],
    ]
    for (const [name, least, most] of times) {
      const wrap = (value: unknown) => {
        const [group, key] = name.split('.')
        return key === undefined ? { [name]: value } : { [group ?? '']: { [key]: value } }
      }
      for (const [value, shown] of notNumbers) refuses(wrap(value), TypeError, name, shown)
      refuses(wrap(Number.NaN), RangeError, name, 'NaN')
      refuses(wrap(-1), RangeError, name, '-1')
      refuses(wrap(least - 0.5), RangeError, name, String(least - 0.5))
      if (most !== Number.POSITIVE_INFINITY) {
        refuses(wrap(most + 1), RangeError, name, String(most + 1))
        refuses(wrap(Number.POSITIVE_INFINITY), RangeError, name, 'Infinity')
      }

      it(`accepts ${name} ${least} and ${most}`, () => {
        // A large minDelay needs a maxDelay that is no smaller.
        const fitting = (value: number) => ({ reconnect: { maxDelay: longest }, ...wrap(value) })
        const both = (value: number) =>
          name === 'reconnect.minDelay'
            ? { reconnect: { maxDelay: longest, minDelay: value } }
            : fitting(value)
        expect(() => make(factory, both(least))).not.to.throw()
        expect(() => make(factory, both(most))).not.to.throw()
      })
    }

    it('refuses a minDelay above maxDelay, and shows both', () => {
      expect(() => make(factory, { reconnect: { minDelay: 60_000 } })).to.throw(
        RangeError,
        /reconnect\.minDelay .*maxDelay \(30000\), got 60000/,
      )
      expect(() => make(factory, { reconnect: { minDelay: 20, maxDelay: 10 } })).to.throw(
        RangeError,
        /reconnect\.minDelay .*maxDelay \(10\), got 20/,
      )
      expect(() => make(factory, { reconnect: { minDelay: 10, maxDelay: 10 } })).not.to.throw()
    })

    it('accepts a maxDelay below the default minDelay, which is then lowered to maxDelay', () => {
      const { reconnect } = checkSourceOptions({ reconnect: { maxDelay: 10 } })
      expect(reconnect).to.include({ maxDelay: 10, minDelay: 10 })
      expect(checkSourceOptions({ reconnect }).reconnect, 'checked again').to.deep.equal(reconnect)
    })
  })

  describe('counts', () => {
    const counts: readonly [string, (value: unknown) => unknown, number][] = [
      ['reconnect.maxRetries', (maxRetries) => ({ reconnect: { maxRetries } }), 0],
      ['highWaterMark', (highWaterMark) => ({ highWaterMark }), 0],
      ['maxEventSize', (maxEventSize) => ({ maxEventSize }), 1],
      ['windowSize', (windowSize) => ({ windowSize }), 1],
    ]
    for (const [name, wrap, least] of counts) {
      for (const [value, shown] of notNumbers) refuses(wrap(value), TypeError, name, shown)
      refuses(wrap(Number.NaN), RangeError, name, 'NaN')
      refuses(wrap(least - 1), RangeError, name, String(least - 1))
      refuses(wrap(1.5), RangeError, name, '1.5')
      refuses(wrap(2 ** 53), RangeError, name, String(2 ** 53))
      refuses(wrap(Number.NEGATIVE_INFINITY), RangeError, name, '-Infinity')
      it(`accepts ${name} ${least} and 1000`, () => {
        expect(() => make(factory, wrap(least))).not.to.throw()
        expect(() => make(factory, wrap(1000))).not.to.throw()
      })
    }
    refuses({ highWaterMark: Number.POSITIVE_INFINITY }, RangeError, 'highWaterMark', 'Infinity')
    refuses({ maxEventSize: Number.POSITIVE_INFINITY }, RangeError, 'maxEventSize', 'Infinity')
    refuses({ windowSize: 8_388_609 }, RangeError, 'windowSize', '8388609')

    it('accepts maxRetries Infinity', () => {
      expect(() => make(factory, { reconnect: { maxRetries: Number.POSITIVE_INFINITY } })).not.to.throw()
    })
  })

  describe('functions', () => {
    for (const name of ['cursor', 'isTerminal']) {
      refuses({ [name]: null }, TypeError, name, 'null')
      refuses({ [name]: 'x' }, TypeError, name, '"x"')
      refuses({ [name]: {} }, TypeError, name, '[object Object]')
      refuses({ [name]: true }, TypeError, name, 'true')
    }
    refuses({ reconnect: { shouldRetry: null } }, TypeError, 'reconnect.shouldRetry', 'null')
    refuses({ reconnect: { shouldRetry: false } }, TypeError, 'reconnect.shouldRetry', 'false')
  })

  describe('flags', () => {
    for (const name of ['objectMode', 'dedupe', 'comments']) {
      refuses({ [name]: null }, TypeError, name, 'null')
      refuses({ [name]: 0 }, TypeError, name, '0')
      refuses({ [name]: 'false' }, TypeError, name, '"false"')
    }
  })

  describe('choices', () => {
    refuses({ resume: 'sometimes' }, TypeError, 'resume', '"sometimes"')
    refuses({ resume: true }, TypeError, 'resume', 'true')
    refuses({ resume: null }, TypeError, 'resume', 'null')
    refuses({ idleResetOn: 'comments' }, TypeError, 'idleResetOn', '"comments"')
    refuses({ idleResetOn: null }, TypeError, 'idleResetOn', 'null')

    it('names the choices', () => {
      expect(() => make(factory, { resume: 'sometimes' })).to.throw(
        /'always' or 'with-cursor' or 'before-first-event' or 'never'/,
      )
      expect(() => make(factory, { idleResetOn: '' })).to.throw(/'bytes' or 'events'/)
    })

    it('accepts each of them', () => {
      for (const resume of ['always', 'with-cursor', 'before-first-event', 'never'] as const) {
        expect(checkSourceOptions({ resume }).resume).to.equal(resume)
      }
      for (const idleResetOn of ['bytes', 'events'] as const) {
        expect(checkSourceOptions({ idleResetOn }).idleResetOn).to.equal(idleResetOn)
      }
    })
  })

  describe('objects', () => {
    refuses({ name: 5 }, TypeError, 'name', '5')
    refuses({ name: null }, TypeError, 'name', 'null')
    refuses({ tracker: {} }, TypeError, 'tracker', '[object Object]')
    refuses({ tracker: null }, TypeError, 'tracker', 'null')
    refuses({ signal: {} }, TypeError, 'signal', '[object Object]')
    refuses({ signal: null }, TypeError, 'signal', 'null')
    refuses({ signal: new AbortController() }, TypeError, 'signal', '[object AbortController]')
    refuses({ logger: null }, TypeError, 'logger', 'null')
    refuses({ logger: true }, TypeError, 'logger', 'true')
    refuses({ logger: {} }, TypeError, 'logger', '[object Object]')
    refuses({ logger: { debug() {}, info() {}, warn() {} } }, TypeError, 'logger', '[object Object]')
    refuses({ initialResponse: null }, TypeError, 'initialResponse', 'null')
    refuses({ initialResponse: {} }, TypeError, 'initialResponse', '[object Object]')
    refuses({ initialResponse: { statusCode: 200 } }, TypeError, 'initialResponse', '[object Object]')

    it('accepts any logger with the four levels, such as the console', () => {
      expect(() => make(factory, { logger: console })).not.to.throw()
    })
  })

  describe('lastEventId', () => {
    refuses({ lastEventId: 5 }, TypeError, 'lastEventId', '5')
    refuses({ lastEventId: null }, TypeError, 'lastEventId', 'null')
    refuses({ lastEventId: 'a\nb' }, RangeError, 'lastEventId', '"a\\nb"')
    refuses({ lastEventId: '\r' }, RangeError, 'lastEventId', '"\\r"')
    refuses({ lastEventId: '\0' }, RangeError, 'lastEventId', '"\\u0000"')

    it('is refused together with a tracker, even when it is empty', () => {
      const tracker = new EventTracker()
      for (const lastEventId of ['7', '']) {
        expect(() => make(factory, { tracker, lastEventId })).to.throw(TypeError, /lastEventId .*tracker/)
      }
      expect(() => make(factory, { tracker, lastEventId: undefined })).not.to.throw()
    })

    it('is stored in a new tracker', () => {
      expect(checkSourceOptions({ lastEventId: '7' }).tracker.lastEventId).to.equal('7')
    })
  })
})

describe('checkSourceOptions', () => {
  const defaults = {
    reconnect: {
      baseDelay: 1000,
      maxDelay: 30_000,
      minDelay: 100,
      maxRetries: 10,
      jitter: 0.1,
      maxRetryAfter: 300_000,
      stableAfter: 10_000,
      shouldRetry: undefined,
    },
    cursor: undefined,
    resume: undefined,
    isTerminal: undefined,
    endWithoutTerminal: 'drop',
    initialResponse: undefined,
    objectMode: false,
    highWaterMark: undefined,
    dedupe: true,
    windowBytes: 65_536,
    comments: true,
    connectTimeout: 30_000,
    idleTimeout: 300_000,
    idleResetOn: 'bytes',
    maxEventSize: 16 * 1024 * 1024,
    fastPath: true,
    name: undefined,
    logger: undefined,
    signal: undefined,
  }

  it('fills in the documented defaults', () => {
    const { tracker, ...rest } = checkSourceOptions({})
    expect(rest).to.deep.equal(defaults)
    expect(tracker).to.be.instanceOf(EventTracker)
    expect(tracker.lastEventId).to.equal('')
  })

  it('treats undefined as absent', () => {
    const { tracker: _, ...rest } = checkSourceOptions({
      reconnect: { baseDelay: undefined, jitter: undefined, maxRetries: undefined, shouldRetry: undefined },
      lastEventId: undefined,
      tracker: undefined,
      cursor: undefined,
      resume: undefined,
      isTerminal: undefined,
      initialResponse: undefined,
      objectMode: undefined,
      highWaterMark: undefined,
      windowBytes: undefined,
      dedupe: undefined,
      comments: undefined,
      connectTimeout: undefined,
      idleTimeout: undefined,
      idleResetOn: undefined,
      maxEventSize: undefined,
      fastPath: undefined,
      name: undefined,
      logger: undefined,
      signal: undefined,
    })
    expect(rest).to.deep.equal(defaults)
  })

  it('keeps the given values', () => {
    const given = {
      reconnect: {
        baseDelay: 1,
        maxDelay: 2,
        minDelay: 1.5,
        maxRetries: Number.POSITIVE_INFINITY,
        jitter: 1,
        maxRetryAfter: 0,
        stableAfter: Number.POSITIVE_INFINITY,
        shouldRetry: () => true,
      },
      tracker: new EventTracker(),
      cursor: () => '7',
      resume: 'with-cursor',
      isTerminal: () => false,
      endWithoutTerminal: 'end',
      initialResponse: new Response(''),
      objectMode: true,
      highWaterMark: 0,
      windowBytes: 0,
      dedupe: false,
      comments: false,
      connectTimeout: 0,
      idleTimeout: 0,
      idleResetOn: 'events',
      maxEventSize: 1,
      fastPath: false,
      name: '',
      logger: console,
      signal: new AbortController().signal,
    } as const
    expect(checkSourceOptions(given)).to.deep.equal(given)
    expect(checkSourceOptions(given).tracker).to.equal(given.tracker)
  })

  for (const asking of [
    { objectMode: true },
    { isTerminal: () => false },
    { cursor: () => '7' },
    { tracker: new EventTracker() },
    { comments: false },
    { idleResetOn: 'events' },
  ] as const) {
    it(`makes the stream read every event with ${Object.keys(asking)}`, () => {
      expect(checkSourceOptions({ ...asking, windowBytes: 7 }).windowBytes).to.equal(0)
    })
  }

  it('passes identity to the tracker of a source', () => {
    const { tracker } = checkSourceOptions({ identity: 'id' })
    expect(tracker.accept({ id: '1', data: 'a' })).to.equal(true)
    expect(tracker.accept({ id: '1', data: 'b' })).to.equal(false)
    for (const identity of [() => '1', undefined])
      expect(() => checkSourceOptions({ identity })).not.to.throw()
    const tracked = { tracker: new EventTracker(), identity: 'id' } as const
    expect(() => checkSourceOptions(tracked)).to.throw(
      TypeError,
      'identity cannot be given together with tracker',
    )
    // @ts-expect-error wrong
    expect(() => checkSourceOptions({ identity: 'data' })).to.throw(TypeError, 'identity must be')
  })

  it('passes windowSize to the tracker of a source', () => {
    const { tracker } = checkSourceOptions({ windowSize: 1 })
    for (const id of ['1', '2']) expect(tracker.accept({ id, data: 'a' })).to.equal(true)
    expect(tracker.isDuplicate({ id: '2', data: 'a' })).to.equal(true)
    expect(tracker.isDuplicate({ id: '1', data: 'a' })).to.equal(false)
    expect(() => checkSourceOptions({ tracker: new EventTracker(), windowSize: 1 })).to.throw(
      TypeError,
      'windowSize cannot be given together with tracker, which has its own windowSize',
    )
    expect(() => checkSourceOptions({ tracker: new EventTracker(), windowSize: undefined })).not.to.throw()
  })

  it('creates a tracker for each source', () => {
    expect(checkSourceOptions({}).tracker).not.to.equal(checkSourceOptions({}).tracker)
  })
})

it('each option of the command has a line in --help', () => {
  for (const [name, { help }] of Object.entries({ ...reconnectOptions, ...sourceOptions })) {
    if (help !== undefined) expect(help, name).to.match(/^\w/)
  }
})

it("the usual value of resume, for a GET, is 'always'", () => {
  expect(sourceOptions.resume.default).to.equal('always')
})
