import http from 'node:http'
import { expect } from 'chai'
import fc from 'fast-check'
import { encodeLastEventId, fieldOf, isWireId, lastEventIdFrom, retryAfterOf } from '../../src/http/fields.ts'

describe('fieldOf', () => {
  it('returns the value, the first of several values, or undefined', () => {
    expect(fieldOf({ a: 'x' }, 'a')).to.equal('x')
    expect(fieldOf({ a: ['x', 'y'] }, 'a')).to.equal('x')
    expect(fieldOf({ a: [] }, 'a')).to.equal(undefined)
    expect(fieldOf({ a: undefined }, 'a')).to.equal(undefined)
    expect(fieldOf({}, 'a')).to.equal(undefined)
  })
})

describe('retryAfterOf', () => {
  const now = Date.parse('1994-11-06T08:49:00Z')
  const of = (value: string | string[]) => retryAfterOf({ 'retry-after': value }, now)

  for (const [value, delay] of [
    ['0', 0],
    ['1', 1000],
    ['120', 120_000],
    [' 7 ', 7000],
    ['1.5', 1500],
    ['0.0001', 1],
    ['9'.repeat(400), Number.POSITIVE_INFINITY],
  ] as const) {
    it(`reads ${JSON.stringify(value.slice(0, 20))} as seconds`, () => {
      expect(of(value)).to.equal(delay)
    })
  }

  for (const [form, date] of [
    ['IMF-fixdate', 'Sun, 06 Nov 1994 08:49:37 GMT'],
    ['RFC 850', 'Sunday, 06-Nov-94 08:49:37 GMT'],
    ['asctime', 'Sun Nov  6 08:49:37 1994'],
  ]) {
    it(`reads an HTTP date in the form ${form}`, () => {
      expect(of(date ?? '')).to.equal(37_000)
    })
  }

  it('reads an asctime date as UTC, in any time zone of the process', () => {
    const { TZ: zone } = process.env
    try {
      Object.assign(process.env, { TZ: 'America/New_York' })
      expect(new Date(now).getHours()).to.equal(3)
      expect(of('Sun Nov  6 08:49:37 1994')).to.equal(37_000)
    } finally {
      if (zone === undefined) Reflect.deleteProperty(process.env, 'TZ')
      else Object.assign(process.env, { TZ: zone })
    }
  })

  it('returns 0 for a date in the past', () => {
    expect(of('Sun, 06 Nov 1994 08:48:59 GMT')).to.equal(0)
    expect(of('Thu, 01 Jan 1970 00:00:00 GMT')).to.equal(0)
  })

  for (const value of [
    '',
    ' ',
    '-5',
    '+5',
    '5s',
    '1e3',
    '0x10',
    '.5',
    '5.',
    '1,5',
    'Infinity',
    'NaN',
    '٣',
    'soon',
    'Never ',
    '1994-11-06T08:49:37Z',
    'Please, wait 60 seconds',
    'Sun, 99 Nov 1994 08:49:37 GMT',
    'Sun, 06 Foo 1994 08:49:37 GMT',
    'Fri, 5',
    'Soon 5',
    'Tomorrow, 2030',
  ]) {
    it(`ignores ${JSON.stringify(value)}`, () => {
      expect(of(value)).to.equal(undefined)
    })
  }

  it('returns undefined without the field', () => {
    expect(retryAfterOf({}, now)).to.equal(undefined)
    expect(retryAfterOf({ 'retry-after': undefined }, now)).to.equal(undefined)
  })

  it('prefers retry-after-ms, which is more precise', () => {
    expect(retryAfterOf({ 'retry-after-ms': '250', 'retry-after': '1' }, now)).to.equal(250)
    expect(retryAfterOf({ 'retry-after-ms': ' 0.5 ' }, now)).to.equal(1)
    expect(retryAfterOf({ 'retry-after-ms': '0', 'retry-after': '1' }, now)).to.equal(0)
  })

  it('falls back to Retry-After when retry-after-ms is not a number', () => {
    expect(retryAfterOf({ 'retry-after-ms': 'x', 'retry-after': '1' }, now)).to.equal(1000)
    expect(retryAfterOf({ 'retry-after-ms': '-1', 'retry-after': '1' }, now)).to.equal(1000)
    expect(retryAfterOf({ 'retry-after-ms': '-1' }, now)).to.equal(undefined)
  })

  it('reads the first of repeated fields', () => {
    expect(of(['2', '3'])).to.equal(2000)
    expect(retryAfterOf({ 'retry-after-ms': ['2', '3'] }, now)).to.equal(2)
    expect(of([])).to.equal(undefined)
  })
})

const decoded = (value: string) => Buffer.from(value, 'latin1').toString('utf8')

describe('encodeLastEventId', () => {
  it('leaves ASCII unchanged', () => {
    expect(encodeLastEventId('1700000000000-0')).to.equal('1700000000000-0')
    expect(encodeLastEventId('a\tb ~')).to.equal('a\tb ~')
  })

  it('returns one character for each byte of UTF-8', () => {
    expect(encodeLastEventId('é')).to.equal('\xc3\xa9')
    expect(encodeLastEventId('日本')).to.equal('\xe6\x97\xa5\xe6\x9c\xac')
    expect(encodeLastEventId('😀')).to.equal('\xf0\x9f\x98\x80')
  })

  it('returns a value that fetch and node:http accept, although they reject the id itself', () => {
    const value = encodeLastEventId('日本') ?? ''
    expect(() => new Headers({ 'last-event-id': '日本' })).to.throw(TypeError)
    expect(() => http.validateHeaderValue('last-event-id', '日本')).to.throw(TypeError)
    expect(new Headers({ 'last-event-id': value }).get('last-event-id')).to.equal(value)
    expect(() => http.validateHeaderValue('last-event-id', value)).not.to.throw()
  })

  it('returns undefined for an empty id', () => {
    expect(encodeLastEventId('')).to.equal(undefined)
  })

  it('returns undefined for an id with any control character except TAB', () => {
    const controls = Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).concat('\x7f')
    for (const control of controls) {
      const expected = control === '\t' ? 'a\tb' : undefined
      expect(encodeLastEventId(`a${control}b`), JSON.stringify(control)).to.equal(expected)
    }
    expect(encodeLastEventId('a\n')).to.equal(undefined)
  })

  it('returns undefined for an id whose outer spaces or tabs a header would lose', () => {
    for (const id of [' ', '\t', ' 7', '7 ', '\t7', '7\t', ' 7 ', '   ', ' é'])
      expect(encodeLastEventId(id), JSON.stringify(id)).to.equal(undefined)
    for (const id of ['7', '7 7', '7\t7', '\u00a07\u00a0', '\u20287'])
      expect(decoded(encodeLastEventId(id) ?? ''), JSON.stringify(id)).to.equal(id)
  })

  it('returns undefined for an id that UTF-8 cannot encode', () => {
    expect(encodeLastEventId('a\ud800b')).to.equal(undefined)
    expect(encodeLastEventId('a\ufffdb')).to.equal('a\xef\xbf\xbdb')
  })

  it('returns for any id undefined, or a valid header value that decodes to the id as UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (id) => {
        const value = encodeLastEventId(id)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: a header field must not hold these characters
        expect(value === undefined).to.equal(/[\0-\x08\n-\x1f\x7f]|^[ \t]|[ \t]$/.test(id))
        if (value === undefined) return
        expect(decoded(value)).to.equal(id)
        http.validateHeaderValue('last-event-id', value)
      }),
      { numRuns: 500 },
    )
  })
})

describe('lastEventIdFrom', () => {
  const fromUrl = (url: string) => lastEventIdFrom({ headers: {}, url })

  it('reads the header of a node:http request, as UTF-8', () => {
    expect(lastEventIdFrom({ headers: { 'last-event-id': '7' } })).to.equal('7')
    expect(lastEventIdFrom({ headers: { 'last-event-id': '\xe6\x97\xa5' }, url: '/' })).to.equal('日')
    expect(lastEventIdFrom({ headers: { 'last-event-id': ['7', '8'] } })).to.equal('7')
  })

  it('reads the header of a fetch Request, as UTF-8', () => {
    const headers = { 'Last-Event-ID': encodeLastEventId('日本') ?? '' }
    expect(lastEventIdFrom(new Request('http://host/', { headers }))).to.equal('日本')
  })

  it('does not mistake a node:http header with the name "get" for a method', () => {
    expect(lastEventIdFrom({ headers: { get: 'x', 'last-event-id': '7' } })).to.equal('7')
  })

  for (const name of [
    'lastEventId',
    'last_event_id',
    'last-event-id',
    'lastEventID',
    'Last-Event-ID',
    'lasteventid',
    'LAST_EVENT_ID',
    'last%2Devent%2Did',
  ]) {
    it(`reads ?${name}`, () => {
      expect(fromUrl(`/?${name}=7`)).to.equal('7')
      expect(fromUrl(`/a/b?x=1&${name}=7&y=2`)).to.equal('7')
    })
  }

  it('reads the first parameter that is not empty, and no parameter with another name', () => {
    expect(fromUrl('/?last_event_id=8&lastEventId=7')).to.equal('8')
    expect(fromUrl('/?lastEventId=&last_event_id=8')).to.equal('8')
    for (const name of ['last_event-id', 'last_eventid', 'lastEvent', 'xlastEventId', 'lastEventIds', 'id'])
      expect(fromUrl(`/?${name}=7`), name).to.equal(undefined)
    expect(lastEventIdFrom(new Request('http://host/?lastEventId=7'))).to.equal('7')
  })

  it('decodes percent-encoding and + in the query', () => {
    expect(fromUrl('/?lastEventId=%E6%97%A5%20a+b%3F')).to.equal('日 a b?')
    expect(fromUrl('/?lastEventId=a?b')).to.equal('a?b')
  })

  it('prefers the header to the query', () => {
    const url = '/?lastEventId=query'
    expect(lastEventIdFrom({ headers: { 'last-event-id': 'header' }, url })).to.equal('header')
    const request = new Request(`http://host${url}`, { headers: { 'last-event-id': 'header' } })
    expect(lastEventIdFrom(request)).to.equal('header')
  })

  it('falls back to the query for an empty header', () => {
    expect(lastEventIdFrom({ headers: { 'last-event-id': '' }, url: '/?lastEventId=7' })).to.equal('7')
  })

  it('returns undefined without a last event ID', () => {
    expect(lastEventIdFrom({ headers: {} })).to.equal(undefined)
    expect(lastEventIdFrom({ headers: { 'last-event-id': '' } })).to.equal(undefined)
    expect(lastEventIdFrom(new Request('http://host/'))).to.equal(undefined)
    for (const url of ['', '/', '/?', '/?lastEventId', '/?lastEventId=', '/lastEventId=7']) {
      expect(fromUrl(url), url).to.equal(undefined)
    }
  })

  it('returns undefined for an id that no event stream can have sent', () => {
    for (const code of ['%00', '%0A', '%0D', 'a%00b']) {
      expect(fromUrl(`/?lastEventId=${code}`), code).to.equal(undefined)
    }
    expect(lastEventIdFrom({ headers: { 'last-event-id': 'a\nb' } })).to.equal(undefined)
  })

  it('accepts other control characters, which an id may contain', () => {
    expect(fromUrl('/?lastEventId=a%01b')).to.equal('a\x01b')
  })

  it('reads the query after a path that looks like a host, and of an absolute URL', () => {
    expect(fromUrl('//host?lastEventId=7')).to.equal('7')
    expect(fromUrl('//?lastEventId=7')).to.equal('7')
    expect(fromUrl('http://host:99999/a?lastEventId=7')).to.equal('7')
  })

  it('does not read the fragment', () => {
    expect(fromUrl('/?lastEventId=7#x')).to.equal('7')
    expect(fromUrl('/#?lastEventId=7')).to.equal(undefined)
    expect(fromUrl('/?x=1#&lastEventId=7')).to.equal(undefined)
  })

  it('reads every id that encodeLastEventId or a query has encoded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (id) => {
        const value = encodeLastEventId(id)
        const query = new URLSearchParams({ lastEventId: id })
        if (value !== undefined) expect(lastEventIdFrom({ headers: { 'last-event-id': value } })).to.equal(id)
        expect(fromUrl(`/?${query}`)).to.equal(isWireId(id) ? id : undefined)
      }),
      { numRuns: 500 },
    )
  })
})

describe('isWireId', () => {
  it('rejects CR, LF and NUL at any position, and accepts all other characters', () => {
    for (const id of ['\r', '\n', '\0', 'a\n', '\ra', 'a\0b', 'a\r\nb']) {
      expect(isWireId(id), JSON.stringify(id)).to.equal(false)
    }
    for (const id of ['', '7', ' ', '\t', '\x01', '\x7f', '\u0085', '\u2028', '日本']) {
      expect(isWireId(id), JSON.stringify(id)).to.equal(true)
    }
  })
})
