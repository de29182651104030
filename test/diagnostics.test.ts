import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { format } from 'node:util'
import { expect } from 'chai'
import debug from 'debug'
import {
  announce,
  type HubReleaseReason,
  type Logger,
  type Messages,
  type StreamStats,
} from '../src/diagnostics.ts'
import { SseError } from '../src/errors.ts'
import { redactUrl } from '../src/http/url.ts'

type Line = readonly [level: keyof Logger, fields: object, message: string]

/** A logger whose methods need their `this`, as those of a class do. */
class Notes implements Logger {
  readonly lines: Line[] = []
  debug(fields: object, message: string) {
    this.lines.push(['debug', fields, message])
  }
  info(fields: object, message: string) {
    this.lines.push(['info', fields, message])
  }
  warn(fields: object, message: string) {
    this.lines.push(['warn', fields, message])
  }
  error(fields: object, message: string) {
    this.lines.push(['error', fields, message])
  }
}

const stream = {}
const error = new SseError('ERR_SSE_DROPPED', 'gone')
const aborted = new DOMException('aborted', 'AbortError')
const about = { id: 3, stream, name: 'feed', upstream: 'http://host/a' }
const shared = { hub: 1, stream: 'prices/eur', name: 'prices' }
const secret = 'the data of an event'
const stats: StreamStats = {
  attempts: 2,
  opens: 1,
  drops: { end: 0, reset: 1, 'idle-timeout': 0 },
  events: 5,
  duplicates: 1,
  gaps: 0,
  bytes: 100,
  downtime: 7,
  lastError: error,
}
const messages: Messages = {
  start: { ...about, stats: () => stats },
  open: { ...about, attempt: 1, opens: 2, cursor: '7', after: 'reset' },
  drop: { ...about, reason: 'reset', error, duration: 5, progress: true },
  retry: { ...about, attempt: 1, delay: 100, source: 'backoff', error, failed: true, after: 'reset' },
  gap: { ...about, cursor: undefined },
  duplicate: { ...about, event: { id: '7', event: 'tick', data: secret, lastEventId: '7' } },
  repeats: { ...about, repeats: 20, cursor: '7' },
  end: { ...about, outcome: 'failed', error, duration: 5, failed: false, after: 'reset', stats },
  'hub-start': { hub: 1, figures: () => [] },
  'hub-open': { ...shared, epoch: 9, first: true, cursor: undefined },
  'hub-release': { ...shared, epoch: 9, reason: 'store', error },
  'hub-gap': { ...shared, reason: 'trimmed', lastEventId: '9-1', refused: false },
  'hub-slow': { ...shared, lastEventId: '9-1', stallTimeout: 60_000 },
  'hub-cancel': { ...shared, reason: 'stop' },
  'hub-options': { ...shared, options: ['linger'] },
  'hub-store-call': { hub: 1, command: 'append', duration: 5 },
  'hub-store-error': { hub: 1, error },
  'hub-store-away': { hub: 1, since: 5, error },
  'hub-store-back': { hub: 1, duration: 5 },
  'hub-end': { hub: 1 },
}
const kinds = [
  ...(['start', 'open', 'drop', 'retry', 'gap', 'duplicate', 'repeats', 'end'] as const),
  ...(['hub-start', 'hub-open', 'hub-release', 'hub-gap', 'hub-slow', 'hub-cancel', 'hub-options'] as const),
  ...(['hub-store-call', 'hub-store-error', 'hub-store-away', 'hub-store-back', 'hub-end'] as const),
]

/** Announces to a logger; gives its one line. */
function logged<K extends keyof Messages>(name: K, message: Messages[K]): Line {
  const logger = new Notes()
  announce(name, message, logger)
  const [line, ...more] = logger.lines
  if (line === undefined) throw new Error('nothing was logged')
  expect(more).to.deep.equal([])
  return line
}

/** What is published on a channel meanwhile. */
function published(channel: string, act: () => void): unknown[] {
  const found: unknown[] = []
  const onMessage = (message: unknown) => found.push(message)
  subscribe(channel, onMessage)
  try {
    act()
  } finally {
    unsubscribe(channel, onMessage)
  }
  return found
}

describe('announce', () => {
  let namespaces = ''
  before(() => {
    namespaces = debug.disable()
  })
  after(() => debug.enable(namespaces))

  it('is tested with every kind of message', () => {
    expect(kinds).to.have.members(Object.keys(messages))
  })

  for (const name of kinds) {
    it(`publishes ${name} only on resilient-sse:${name}`, () => {
      const message = messages[name]
      expect(published(`resilient-sse:${name}`, () => announce(name, message))).to.deep.equal([message])
      const [first] = published(`resilient-sse:${name}`, () => announce(name, message))
      expect(first).to.equal(message)
      const others = Object.keys(messages).filter((other) => other !== name)
      for (const other of others) {
        expect(published(`resilient-sse:${other}`, () => announce(name, message))).to.deep.equal([])
      }
    })
  }

  describe('to a logger', () => {
    it('logs the first open at debug, and further opens at info', () => {
      expect(logged('open', { ...messages.open, opens: 0 })[0]).to.equal('debug')
      expect(logged('open', { ...messages.open, opens: 1 })[0]).to.equal('info')
    })

    it('says a retry at info, a gap and repeats at warn; a start, a drop and a duplicate at debug', () => {
      expect(logged('start', messages.start)[0]).to.equal('debug')
      expect(logged('drop', messages.drop)[0]).to.equal('debug')
      expect(logged('retry', messages.retry)[0]).to.equal('info')
      expect(logged('gap', messages.gap)[0]).to.equal('warn')
      expect(logged('repeats', messages.repeats)[0]).to.equal('warn')
      expect(logged('duplicate', messages.duplicate)[0]).to.equal('debug')
    })

    it('logs the end of a failed stream at error, and any other end at debug', () => {
      expect(logged('end', messages.end)[0]).to.equal('error')
      expect(logged('end', { ...messages.end, outcome: 'ended', error: undefined })[0]).to.equal('debug')
      expect(logged('end', { ...messages.end, outcome: 'aborted', error: aborted })[0]).to.equal('debug')
    })

    const levels: Partial<Record<keyof Logger, readonly (keyof Messages)[]>> = {
      debug: ['hub-start', 'hub-open', 'hub-store-call', 'hub-store-error', 'hub-end'],
      info: ['hub-cancel', 'hub-store-back'],
      warn: ['hub-gap', 'hub-slow', 'hub-options', 'hub-store-away'],
      error: ['hub-release'],
    }
    for (const [level, names] of Object.entries(levels)) {
      it(`logs of the messages about hubs ${names.join(', ')} at ${level}`, () => {
        for (const name of names) expect(logged(name, messages[name])[0], name).to.equal(level)
      })
    }

    it('logs an upstream that is opened again at info', () => {
      expect(logged('hub-open', { ...messages['hub-open'], first: false })[0]).to.equal('info')
    })

    it('logs a released upstream at error only where no line of the upstream says so', () => {
      const level = (reason: HubReleaseReason) =>
        logged('hub-release', { ...messages['hub-release'], reason })[0]
      for (const reason of ['end', 'failure', 'linger', 'closed'] as const)
        expect(level(reason)).to.equal('debug')
      expect(level('superseded')).to.equal('info')
      expect(level('store')).to.equal('error')
      expect(level('not-resumable')).to.equal('error')
    })

    it("logs the hub's number and the name of the shared stream, but not the function of the figures", () => {
      expect(logged('hub-release', messages['hub-release']).slice(1)).to.deep.equal([
        { hub: 1, stream: 'prices/eur', name: 'prices', epoch: 9, reason: 'store', err: error },
        'shared upstream released',
      ])
      expect(logged('hub-start', messages['hub-start']).slice(1)).to.deep.equal([{ hub: 1 }, 'hub started'])
    })

    it("logs the stream's number, name and upstream, and the error as err, but not the stream itself", () => {
      const stream = { streamId: 3, name: 'feed', upstream: 'http://host/a' }
      expect(logged('drop', messages.drop).slice(1)).to.deep.equal([
        { ...stream, reason: 'reset', duration: 5, progress: true, err: error },
        'upstream dropped',
      ])
      expect(logged('retry', messages.retry)[1]).to.deep.equal({
        ...stream,
        failed: true,
        after: 'reset',
        attempt: 1,
        delay: 100,
        source: 'backoff',
        err: error,
      })
      expect(logged('start', messages.start)[1]).to.deep.equal(stream)
      expect(logged('open', messages.open)[1]).to.deep.equal({
        ...stream,
        after: 'reset',
        attempt: 1,
        opens: 2,
        cursor: '7',
      })
    })

    it('omits absent fields', () => {
      const absent = { name: undefined, upstream: undefined, error: undefined, after: undefined }
      const [, fields] = logged('end', { ...messages.end, ...absent, outcome: 'ended' })
      expect(fields).to.deep.equal({ streamId: 3, outcome: 'ended', duration: 5, failed: false })
    })

    it('logs the id of a duplicate, but not its data', () => {
      const [, fields] = logged('duplicate', messages.duplicate)
      expect(fields).to.deep.equal({ streamId: 3, name: 'feed', upstream: 'http://host/a', id: '7' })
    })

    it('logs a different text for each kind of message', () => {
      const texts = kinds.map((name) => logged(name, messages[name])[2])
      expect(new Set(texts).size).to.equal(kinds.length)
    })
  })

  describe('to the debug log', () => {
    const lines: string[] = []
    const { log } = debug
    before(() => {
      debug.log = (...args: unknown[]) => lines.push(format(...args))
      debug.enable('resilient-sse:drop,resilient-sse:duplicate')
    })
    after(() => {
      debug.disable()
      debug.log = log
    })

    it('writes to the enabled namespaces, without event data', () => {
      announce('drop', messages.drop)
      announce('retry', messages.retry)
      announce('duplicate', messages.duplicate)
      expect(lines).to.have.lengthOf(2)
      expect(lines[0]).to.match(/resilient-sse:drop.*upstream dropped.*http:\/\/host\/a/s)
      expect(lines[1]).to.match(/resilient-sse:duplicate.*duplicate dropped.*'7'/s)
      expect(lines.join()).not.to.include(secret)
    })
  })

  it('does not read a message without a subscriber or a logger', () => {
    let looks = 0
    const seen = <T>(value: T): T => {
      looks++
      return value
    }
    const message: Messages['duplicate'] = {
      get id() {
        return seen(3)
      },
      get upstream() {
        return seen(undefined)
      },
      get stream() {
        return seen(stream)
      },
      get name() {
        return seen('x')
      },
      get event() {
        return seen({ id: '7', data: secret })
      },
    }
    announce('duplicate', message)
    expect(looks).to.equal(0)
    // Neither does handing it to the channel.
    published('resilient-sse:duplicate', () => announce('duplicate', message))
    expect(looks).to.equal(0)
    announce('duplicate', message, new Notes())
    expect(looks).to.equal(5)
  })
})

describe('redactUrl', () => {
  for (const [url, redacted] of [
    ['http://host/', 'http://host/'],
    ['http://host', 'http://host/'],
    ['https://host:8443/a/b', 'https://host:8443/a/b'],
    ['http://[::1]:80/a', 'http://[::1]/a'],
    ['https://user:secret@host/a', 'https://host/a'],
    ['https://user@host/a', 'https://host/a'],
    ['http://host/a?token=secret', 'http://host/a?token=*'],
    ['http://host/a?token=secret&x=1&token=secret', 'http://host/a?token=*&x=*'],
    ['http://host/a?token', 'http://host/a?token=*'],
    ['http://host/a?', 'http://host/a'],
    ['http://host/a?a%20b=1&%C3%A9=2', 'http://host/a?a%20b=*&%C3%A9=*'],
    ['http://host/a?%F0%90=secret', 'http://host/a?%EF%BF%BD=*'],
    ['http://host/a#secret', 'http://host/a'],
    ['http://host/a?x=1#secret', 'http://host/a?x=*'],
  ] as const) {
    it(`makes ${redacted} of ${url}`, () => {
      expect(redactUrl(url)).to.equal(redacted)
    })
  }

  for (const [text, redacted] of [
    ['the price feed', 'the price feed'],
    ['/a/b?token=secret', '/a/b'],
    ['/a/b#secret', '/a/b'],
    ['/a?x\ntoken=secret', '/a'],
    ['', ''],
    ['/@joe/feed?token=secret', '/@joe/feed'],
    ['http://user:secret@host:99999/a?x=1', 'http://host:99999/a'],
    ['//user:secret@host/a', '//host/a'],
    ['user:secret@host', 'host'],
    ['http://user:sec/ret@host', 'http://*'],
    ['http://host:99999/?mail=joe@secret', 'http://*'],
  ] as const) {
    it(`makes ${JSON.stringify(redacted)} of ${JSON.stringify(text)}, which is not a URL`, () => {
      expect(redactUrl(text)).to.equal(redacted)
    })
  }

  for (const text of [
    'http://user:secret@host:99999/a?x=1',
    '//user:secret@host/a',
    'http://user:secret@/a',
    'http://user:a/secret@host:99999/',
    'http://user:secret/a@host/',
    'http://user:a?secret@host:99999/',
    'http://user:secret#a@host/',
    'http://user:a#secret@host/',
    'http://user:a@secret@host:99999/',
    'user:a/secret@host',
  ]) {
    it(`removes the credentials from ${text}, although it is not a URL`, () => {
      expect(redactUrl(text)).not.to.include('secret')
    })
  }
})
