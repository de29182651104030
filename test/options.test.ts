import http from 'node:http'
import { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import {
  createResilientSseSource,
  createSseProxy,
  relayResponse,
  relaySse,
  type UpstreamFactory,
} from '../src/index.ts'
import {
  bytes,
  callback,
  checkOptions,
  choice,
  count,
  flag,
  type Kind,
  milliseconds,
  nearest,
  number,
  object,
  optional,
  readGiven,
  required,
  sharing,
  text,
  withDefault,
} from '../src/options.ts'
import { checkSourceOptions } from '../src/reconnect/options.ts'

const longest = 2 ** 31 - 1
const factory: UpstreamFactory = () => Readable.from([])

/** What each kind takes, and refuses with which error. */
const kinds: Readonly<Record<string, readonly [Kind<unknown, unknown>, unknown[], unknown[], unknown[]]>> = {
  number: [number(0, 1, 'SHARE'), [0, 0.5, 1], ['0', null, 1n], [-0.1, 1.1, Number.NaN]],
  milliseconds: [milliseconds(1), [1, 1.5, longest], ['1', true], [0, longest + 1, Number.POSITIVE_INFINITY]],
  count: [count(0), [0, 7], ['7', {}], [-1, 1.5, 2 ** 53, Number.POSITIVE_INFINITY]],
  'count without end': [count(0, Number.POSITIVE_INFINITY), [7, Number.POSITIVE_INFINITY], ['7'], [2 ** 53]],
  bytes: [bytes(1), [1, 65_536], ['1'], [0, 1.5, 2 ** 40]],
  flag: [flag, [true, false], ['true', 1, null], []],
  choice: [choice('one', 'two'), ['one', 'two'], ['three', 'ONE', '', 1, null], []],
  text: [text, ['', 'x'], [1, null, {}], []],
  callback: [callback(), [() => {}, Number], [null, 'x', {}], []],
  object: [object('a Date', (value) => value instanceof Date), [new Date()], [null, 'x', {}, () => {}], []],
}

describe('sharing', () => {
  const logger = {}

  it('returns an earlier object with the same values, and no other', () => {
    const share = sharing<object>()
    const first = share({ name: 'a', limit: Number.NaN, logger })
    const second = share({ name: 'b', limit: 1, logger })
    expect(share({ name: 'a', limit: Number.NaN, logger })).to.equal(first)
    expect(share({ name: 'b', limit: 1, logger })).to.equal(second)
    expect(share({ name: 'a', limit: Number.NaN, logger: {} })).not.to.equal(first)
    expect(share({ name: 'a', limit: Number.NaN })).to.deep.equal({ name: 'a', limit: Number.NaN })
    expect(share({ name: 'a', limit: Number.NaN, logger, more: undefined })).not.to.equal(first)
  })

  it('remembers what is used again, however many others there are', () => {
    const share = sharing<object>()
    const first = share({ name: 'a' })
    for (let n = 0; n < 100; n++) {
      share({ n })
      expect(share({ name: 'a' })).to.equal(first)
    }
  })

  it('does not give one stream the options of another, although a caller changes its object', () => {
    const options = { reconnect: { maxRetries: 1 } }
    const before = checkSourceOptions(options).reconnect
    options.reconnect.maxRetries = 2
    expect(checkSourceOptions(options).reconnect.maxRetries).to.equal(2)
    expect(before.maxRetries).to.equal(1)
    expect(checkSourceOptions({ reconnect: { maxRetries: 1 } }).reconnect).to.equal(before)
  })
})

describe('the kind', () => {
  for (const [name, [kind, right, wrongType, wrongNumber]] of Object.entries(kinds)) {
    it(`${name} accepts valid values, and names an invalid value`, () => {
      for (const value of right) expect(kind.check(value, 'it')).to.equal(value)
      for (const value of wrongType)
        expect(() => kind.check(value, 'it')).to.throw(TypeError, /^it must be .*, got /)
      for (const value of wrongNumber)
        expect(() => kind.check(value, 'it')).to.throw(RangeError, /^it must be .*, got /)
    })
  }

  it('parses the text of a flag, and returns invalid text unchanged', () => {
    const parse = (kind: Kind<unknown, unknown>, written: string) => kind.text?.parse(written)
    for (const [written, meant] of [
      ['5', 5],
      ['0.5', 0.5],
      ['Infinity', Number.POSITIVE_INFINITY],
      ['1e3', '1e3'],
      [' 5', ' 5'],
      ['', ''],
    ] as const)
      expect(parse(milliseconds(), written)).to.equal(meant)
    for (const [written, meant] of [
      ['true', true],
      ['false', false],
      ['yes', 'yes'],
    ] as const)
      expect(parse(flag, written)).to.equal(meant)
    expect(parse(text, '5')).to.equal('5')
    expect(callback().text).to.equal(undefined)
  })
})

describe('checkOptions', () => {
  const inner = { depth: withDefault(count(0), 1) }
  const table = {
    size: withDefault(count(0), 7, 'how many'),
    title: optional(text),
    inner: withDefault<{ depth: number }, object>(
      { check: (value, name) => checkOptions(inner, value, name) },
      {},
    ),
  }

  it('returns the checked values, with defaults for absent and undefined options', () => {
    const defaults = { size: 7, title: undefined, inner: { depth: 1 } }
    expect(checkOptions(table, {})).to.deep.equal(defaults)
    expect(checkOptions(table, { size: undefined, title: undefined, inner: undefined })).to.deep.equal(
      defaults,
    )
    const given = { size: 0, title: 'x', inner: { depth: 2 } }
    expect(checkOptions(table, given)).to.deep.equal(given)
  })

  it('reads inherited options, for example of an object with defaults', () => {
    expect(checkOptions(table, Object.create({ size: 3 })).size).to.equal(3)
  })

  it('rejects a value that is not an object, and null for an option', () => {
    for (const options of [null, undefined, 5, 'x', () => {}])
      expect(() => checkOptions(table, options)).to.throw(TypeError, /^options must be an object, got /)
    expect(() => checkOptions(table, { inner: null })).to.throw(
      TypeError,
      'inner must be an object, got null',
    )
    expect(() => checkOptions(table, { size: null })).to.throw(TypeError, /^size must be .*, got null$/)
  })

  it('names an option by its place', () => {
    expect(() => checkOptions(table, { inner: { depth: -1 } })).to.throw(
      RangeError,
      /^inner\.depth must be .*, got -1$/,
    )
    expect(() => checkOptions(table, { size: -1 }, 'outer')).to.throw(RangeError, /^outer\.size must be /)
  })

  it('rejects an absent required option', () => {
    const table = { title: required(text) }
    expect(() => checkOptions(table, {})).to.throw(TypeError, 'title must be a string, got undefined')
    expect(checkOptions(table, { title: '' }).title).to.equal('')
  })

  it('rejects unknown names, even with undefined, and names of Object.prototype', () => {
    const isUnknown = 'is not an option here'
    expect(() => checkOptions(table, { other: undefined })).to.throw(TypeError, `other ${isUnknown}`)
    expect(() => checkOptions(table, { constructor: 1 })).to.throw(TypeError, `constructor ${isUnknown}`)
    expect(() => checkOptions(table, { ['__proto__']: 1 })).to.throw(TypeError, `__proto__ ${isUnknown}`)
    expect(() => checkOptions(table, ['x'])).to.throw(TypeError, `0 ${isUnknown}`)
  })

  it('names the place of an option, the nearest known option, or all known options', () => {
    const elsewhere = { 'the inner one': inner }
    const messages = {
      depth: 'depth is not an option here: it belongs to the inner one',
      sice: 'sice is not an option here: did you mean size?',
      nothing: 'nothing is not an option here: known options: size, title, inner',
    }
    for (const [name, message] of Object.entries(messages))
      expect(() => checkOptions(table, { [name]: 1 }, '', elsewhere)).to.throw(TypeError, message)
    expect(() => checkOptions(table, { inner: { dept: 1 } })).to.throw(TypeError, 'did you mean inner.depth?')
  })

  it('can leave absent options absent', () => {
    expect(readGiven(table, { size: 3, title: undefined })).to.deep.equal({ size: 3 })
  })
})

describe('nearest', () => {
  const known = ['reconnect', 'resume', 'maxRetries', 'baseDelay', 'dedupe']
  for (const [wrong, near] of [
    ['reconect', 'reconnect'],
    ['maxRetry', 'maxRetries'],
    ['base-delay', 'baseDelay'],
    ['BASEDELAY', 'baseDelay'],
    ['dedup', 'dedupe'],
    ['deduplicate', undefined],
    ['nonsense', undefined],
    ['', undefined],
  ] as const) {
    it(`to ${JSON.stringify(wrong)} is ${near}`, () => {
      expect(nearest(wrong, known)).to.equal(near)
    })
  }

  it('ignores the prefix that all names share', () => {
    expect(nearest('PREFIX_X', ['PREFIX_BIND', 'PREFIX_DRAIN'], 'PREFIX_')).to.equal(undefined)
    expect(nearest('PREFIX_BIN', ['PREFIX_DRAIN', 'PREFIX_BIND'], 'PREFIX_')).to.equal('PREFIX_BIND')
  })
})

describe('an unknown option', () => {
  const upstream = 'http://upstream.test'
  const request = new Request('http://client.test')

  it('of a source is a TypeError that names it', () => {
    // @ts-expect-error it is reconnect
    expect(() => createResilientSseSource(factory, { reconect: {} })).to.throw(
      TypeError,
      'reconect is not an option here: did you mean reconnect?',
    )
    // @ts-expect-error it is maxRetries
    expect(() => createResilientSseSource(factory, { reconnect: { maxRetry: 1 } })).to.throw(
      TypeError,
      'reconnect.maxRetry is not an option here: did you mean reconnect.maxRetries?',
    )
    // @ts-expect-error it is reconnect.maxRetries
    expect(() => createResilientSseSource(factory, { maxRetries: 1 })).to.throw(
      TypeError,
      'maxRetries is not an option here: it belongs to reconnect',
    )
  })

  it('of relaySse rejects, and leaves the response unchanged', async () => {
    const req = new http.IncomingMessage(new Socket())
    const res = new http.ServerResponse(req)
    const rejections = await Promise.allSettled([
      // @ts-expect-error a relay's source yields bytes
      relaySse(req, res, factory, { objectMode: true }),
      // @ts-expect-error it is heartbeat
      relaySse(req, res, factory, { hartbeat: 1 }),
      // @ts-expect-error it is reconnect.jitter
      relaySse(req, res, factory, { jitter: 1 }),
    ])
    expect(rejections.map((each) => each.status === 'rejected' && String(each.reason))).to.deep.equal([
      'TypeError: objectMode is not an option here: it belongs to createResilientSseSource',
      'TypeError: hartbeat is not an option here: did you mean heartbeat?',
      'TypeError: jitter is not an option here: it belongs to reconnect',
    ])
    expect(res.headersSent).to.equal(false)
    expect(res.getHeaderNames()).to.deep.equal([])
  })

  it('of relayResponse is a TypeError', async () => {
    // @ts-expect-error a body is bytes
    const error = await relayResponse(request, factory, { objectMode: true }).catch((error: unknown) => error)
    expect(error)
      .to.be.instanceOf(TypeError)
      .with.property('message', 'objectMode is not an option here: it belongs to createResilientSseSource')
  })

  it('of a proxy, or of its relays, is a TypeError', () => {
    // @ts-expect-error it is upstream
    expect(() => createSseProxy({ upstream, upstraem: upstream })).to.throw(
      TypeError,
      'did you mean upstream?',
    )
    // @ts-expect-error there is no such option
    expect(() => createSseProxy({ upstream, relay: { nonsense: 1 } })).to.throw(
      TypeError,
      /^relay\.nonsense is not an option here: known options: reconnect, .*heartbeat/,
    )
    // @ts-expect-error it is the proxy's
    expect(() => createSseProxy({ upstream, relay: { connectTimeout: 1 } })).to.throw(
      TypeError,
      'relay.connectTimeout is not an option here: it belongs to createSseProxy',
    )
    // @ts-expect-error it is its relays'
    expect(() => createSseProxy({ upstream, heartbeat: 1 })).to.throw(
      TypeError,
      'heartbeat is not an option here: it belongs to relay',
    )
    // @ts-expect-error the request says where to start
    expect(() => createSseProxy({ upstream, relay: { lastEventId: '7' } })).to.throw(
      TypeError,
      'relay.lastEventId is not an option here: it belongs to relaySse',
    )
  })
})
