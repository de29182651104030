import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MIMEType } from 'node:util'
import { expect } from 'chai'
import fc from 'fast-check'
import { ConfigError, readConfig } from '../../src/cli/config.ts'
import { settings } from '../../src/cli/settings.ts'
import { encodeLastEventId, retryAfterOf } from '../../src/http/fields.ts'
import { isEventStream } from '../../src/http/media-type.ts'
import { longestTimer } from '../../src/http/timer-wheel.ts'
import { createSseProxy, lastEventIdFrom } from '../../src/index.ts'
import { delayOf } from '../../src/reconnect/delay.ts'

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    maxLength: 20,
  }),
  fc.string({
    unit: fc.constantFrom('%', '?', '#', '&', '=', '+', '/', ':', ' ', '\0', '\n', 'a', '%C3', '%00'),
  }),
)
const anyValue = fc.oneof(anyText, fc.array(anyText, { maxLength: 2 }), fc.constant(undefined))
const path = fc.oneof(
  anyText,
  fc
    .tuple(fc.constantFrom('lastEventId', 'last_event_id', 'lastEventID'), anyText)
    .map(([name, value]) => `/events?${name}=${value}`),
)

/** An id as an event stream can carry it: UTF-8 has no lone surrogates. */
const idOf = (text: string) =>
  Buffer.from(text)
    .toString()
    .replace(/[\r\n\0]/g, '')

export const lastEventIds = fc.property(anyValue, path, anyText, (value, url, text) => {
  const found = lastEventIdFrom({ headers: { 'last-event-id': value }, url })
  if (found !== undefined) expect(found).to.match(/^[^\r\n\0]+$/)
  const id = idOf(text)
  const sent = encodeLastEventId(id)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a header field must not hold these characters
  expect(sent === undefined).to.equal(id === '' || /[\x01-\x08\x0b-\x1f\x7f]|^[ \t]|[ \t]$/.test(id))
  if (sent !== undefined) expect(lastEventIdFrom({ headers: { 'last-event-id': sent }, url })).to.equal(id)
  const query = `/?${new URLSearchParams({ lastEventId: id })}`
  expect(lastEventIdFrom({ headers: {}, url: query })).to.equal(id === '' ? undefined : id)
})

const time = fc.oneof(
  anyText,
  fc.integer().map(String),
  fc.double().map(String),
  fc.bigInt().map(String),
  fc.date().map((date) => (Number.isNaN(date.getTime()) ? '' : date.toUTCString())),
  fc
    .tuple(
      fc.stringMatching(/^[A-Z][a-z]{2}$/),
      fc.stringMatching(/^\d\d$/),
      fc.stringMatching(/^[A-Z][a-z]{2}$/),
    )
    .map(([day, date, month]) => `${day}, ${date} ${month} 1994 08:49:37 GMT`),
)
const delay = fc.oneof(fc.integer({ min: 1, max: longestTimer }), fc.integer({ min: 1, max: 1000 }))
const delayOptions = fc.record({
  baseDelay: delay,
  maxDelay: delay,
  minDelay: delay,
  jitter: fc.double({ min: 0, max: 1, noNaN: true }),
  maxRetryAfter: fc.integer({ min: 0, max: longestTimer }),
})
const delayInputs = fc.record({
  retry: fc.oneof(fc.nat(2000), fc.constant(Number.MAX_SAFE_INTEGER)),
  reconnectionTime: fc.constantFrom(undefined, 0, 5, 1e9, Number.POSITIVE_INFINITY),
  sinceOpen: fc.constantFrom(undefined, 0, 0.5, 1e12),
})

export const retryAfters = fc.property(
  fc.record({
    'retry-after': fc.option(time, { nil: undefined }),
    'retry-after-ms': fc.option(time, { nil: undefined }),
  }),
  fc.oneof(fc.constant(Date.parse('1994-11-06T08:49:00Z')), fc.nat()),
  delayOptions,
  delayInputs,
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  (headers, now, options, input, random) => {
    const retryAfter = retryAfterOf(headers, now)
    if (retryAfter !== undefined) expect(retryAfter).to.be.at.least(0)
    const { delay } = delayOf(options, { ...input, retryAfter }, () => random)
    const { maxDelay, jitter } = options
    const longestFloor = Math.max(options.minDelay, options.maxRetryAfter)
    // After a clean end the time since the connection opened is a floor too: two opens are at least a base delay apart.
    const longest =
      input.sinceOpen === undefined
        ? Math.max(maxDelay, longestFloor + jitter * maxDelay)
        : Math.max(maxDelay, longestFloor) + jitter * maxDelay
    expect(delay).to.be.within(0, Math.min(longestTimer, longest))
  },
)

const mediaType = fc.oneof(
  anyText,
  fc
    .tuple(
      fc.constantFrom('', ' ', '\t'),
      fc.mixedCase(fc.constant('text/event-stream')),
      fc.constantFrom('', ';', ' ;', ',', ';a="', ', a/b;c="'),
      anyText,
    )
    .map((parts) => parts.join('')),
)

export const contentTypes = fc.property(fc.option(mediaType, { nil: undefined }), (type) => {
  expect(isEventStream(type)).to.equal(lastTypeIn(type ?? '') === 'text/event-stream')
})

/** The essence of the last valid type in a list, read character by character. */
function lastTypeIn(list: string): string | undefined {
  let isQuoted = false
  let isEscaped = false
  const members = ['']
  for (const character of list) {
    if (character === ',' && !isQuoted) members.push('')
    else members.push(members.pop() + character)
    if (character === '"' && !isEscaped) isQuoted = !isQuoted
    isEscaped = isQuoted && character === '\\' && !isEscaped
  }
  const essences = members.map((member) => member.split(';', 1)[0]?.trim() ?? '')
  return essences
    .filter((essence) => isType(essence) && essence !== '*/*')
    .at(-1)
    ?.toLowerCase()
}

function isType(essence: string): boolean {
  try {
    return new MIMEType(essence).essence !== ''
  } catch {
    return false
  }
}

const setting = fc.constantFrom(...settings)
const settingText = fc.oneof(
  anyText,
  fc.constantFrom(
    'http://a.test/',
    'https://u:p@a.test',
    '127.0.0.1:80',
    '[::1]:0',
    'true',
    'false',
    'Infinity',
    'bytes',
  ),
  fc.constantFrom('0', '1', '0.5', '60', '2147483648', '1e3', 'always', 'json', 'debug'),
  { arbitrary: fc.oneof(fc.nat(100), fc.integer(), fc.nat(2 ** 40)).map(String), weight: 3 },
)
const argument = fc.oneof(
  { arbitrary: fc.tuple(setting, settingText).map(([{ flag }, text]) => [`${flag}=${text}`]), weight: 6 },
  { arbitrary: fc.tuple(setting, settingText).map(([{ flag }, text]) => [flag, text]), weight: 2 },
  { arbitrary: fc.constantFrom(['--help'], ['-h'], ['--version'], ['--help=x'], ['--'], ['-x']), weight: 1 },
  { arbitrary: anyText.map((text) => [text]), weight: 1 },
)
const variables = fc.dictionary(
  fc.oneof(
    { arbitrary: setting.map(({ variable }) => variable), weight: 6 },
    fc.constantFrom('PATH', 'RESILIENT_SSE_X', 'RESILIENT_SSE_PORT', '__proto__'),
  ),
  settingText,
  { maxKeys: 3 },
)
const settingValue = fc.oneof(
  settingText,
  fc.nat(2 ** 40),
  fc.double(),
  fc.boolean(),
  fc.jsonValue({ maxDepth: 1 }),
)
const values = fc.dictionary(
  fc.oneof({ arbitrary: setting.map(({ name }) => name), weight: 8 }, anyText),
  settingValue,
  { maxKeys: 3 },
)
const file = fc.oneof(
  {
    arbitrary: fc
      .record(
        {
          defaults: values,
          paths: fc.dictionary(fc.oneof(fc.constantFrom('/', '/v1/'), anyText), values, { maxKeys: 2 }),
        },
        { requiredKeys: [] },
      )
      .map((content) => JSON.stringify(content)),
    weight: 6,
  },
  { arbitrary: fc.json(), weight: 1 },
  { arbitrary: anyText, weight: 1 },
)

const usable = ['--upstream', 'http://upstream.test/']

/** The first line of an argument, up to its value: the part that an error message of parseArgs shows. */
const startOf = (argument: string) => argument.split(/[=\n]/, 1)[0] ?? ''

/** Expects that a message starts with a flag, a variable or the file, or names the argument that cannot be read. */
function expectNamed(message: string, args: readonly string[], env: object, path: string): void {
  const [, unexpected, unread = unexpected] =
    /^(?:(-.*) is not an option|(?:Unexpected argument|Option) '(?:-h, )?(.*))/s.exec(message) ?? []
  if (unread !== undefined) {
    // Each letter after a single dash is an option of its own.
    const isFrom = (argument: string) => unread.startsWith(startOf(argument)) || /^-[^-]/.test(argument)
    expect(args.some(isFrom), message).to.equal(true)
    return
  }
  const places = settings.map(({ flag }) => flag).concat(Object.keys(env), path)
  expect(
    places.some((place) => message.startsWith(place)),
    message,
  ).to.equal(true)
}

export const configurations = fc.property(
  fc.boolean(),
  fc.array(argument, { maxLength: 3 }),
  variables,
  fc.option(file, { nil: undefined }),
  (complete, more, env, content) => {
    const folder = mkdtempSync(join(tmpdir(), 'config-'))
    const path = join(folder, 'conf.json')
    try {
      if (content !== undefined) writeFileSync(path, content)
      const fixed = [...(complete ? usable : []), ...(content === undefined ? [] : ['--config', path])]
      const args = [...fixed, ...more.flat()]
      let config: ReturnType<typeof readConfig>
      try {
        config = readConfig(args, env)
      } catch (error) {
        expect(error).to.be.instanceOf(ConfigError)
        if (error instanceof Error) expectNamed(error.message, args, env, path)
        return
      }
      if (typeof config === 'string') return
      expect(config.routes).not.to.have.lengthOf(0)
      // The library must accept every configuration that the command accepts.
      for (const { upstream, relay, connectTimeout } of config.routes) {
        createSseProxy({ upstream, relay, connectTimeout })
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
