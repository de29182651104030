import { expect } from 'chai'
import { type Config, readConfig, routeFor } from '../../src/cli/config.ts'
import { helpText } from '../../src/cli/settings.ts'
import { checkSourceOptions } from '../../src/reconnect/options.ts'
import { configOf, type Environment, fileOf, messageOf, routeOf, upstream } from '../support/config.ts'

interface Row {
  readonly name: string
  readonly flag: string
  readonly variable: string
  /** A right value as it stands in a file, another one, and where it ends up. */
  readonly value: unknown
  readonly other: unknown
  readonly of: (config: Config) => unknown
  /** Values that are wrong as text. */
  readonly wrong: readonly string[]
  readonly serverOnly?: boolean
}

function reconnect(name: string, flag: string, value: number, other: number, wrong: readonly string[]): Row {
  const of = (config: Config) => Reflect.get(routeOf(config).relay.reconnect ?? {}, name)
  return { ...names(name, flag), value, other, of, wrong }
}

function relay(name: string, flag: string, value: unknown, other: unknown, wrong: readonly string[]): Row {
  return {
    ...names(name, flag),
    value,
    other,
    of: (config) => Reflect.get(routeOf(config).relay, name),
    wrong,
  }
}

function proxy(name: string, flag: string, value: unknown, other: unknown, wrong: readonly string[]): Row {
  return { ...names(name, flag), value, other, of: (config) => Reflect.get(routeOf(config), name), wrong }
}

/** A row of an option of shared streams, which the library has at `path`. */
function shared(
  name: string,
  flag: string,
  value: unknown,
  other: unknown,
  wrong: readonly string[],
  path: readonly string[] = [name],
): Row {
  const of = (config: Config) =>
    path.reduce<unknown>((from, key) => Reflect.get(Object(from), key), routeOf(config).shared)
  return { ...names(name, flag), value, other, of, wrong }
}

function server(name: string, flag: string, value: unknown, other: unknown, wrong: readonly string[]): Row {
  const of = (config: Config) => plain(Reflect.get(config, name))
  return { ...names(name, flag), value, other, of, wrong, serverOnly: true }
}

function names(name: string, flag: string) {
  return {
    name,
    flag: `--${flag}`,
    variable: `RESILIENT_SSE_${flag.replaceAll('-', '_').toUpperCase()}`,
  }
}

/** An address as it is written. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('host' in value) || !('port' in value)) return value
  return `${value.host}:${value.port}`
}

const noDelay = ['0', '-1', '2147483648', 'soon', '', '1e3', '0x10', ' 5']
const noTime = ['-1', '2147483648', 'soon', '', 'Infinity', 'NaN']
const noAddress = [
  'host',
  'host:',
  'host:65536',
  '65536',
  ':65536',
  '123456',
  ':',
  '8080:',
  '-1',
  '1.5',
].concat(['http://host:80', 'a b:80', '[x]:80', '::80', '[]:80', ''])
const noFlag = ['yes', '1', 'TRUE', '']

const rows: readonly Row[] = [
  {
    ...names('upstream', 'upstream'),
    value: 'http://a.test/',
    other: 'https://b.test/base',
    of: (config) => routeOf(config).upstream.href,
    wrong: [
      'a.test',
      'ftp://a.test',
      '',
      'http://',
      'http://user@a.test',
      'http://a.test?x=1',
      'http://a.test#f',
    ],
  },
  server('bind', 'bind', '0.0.0.0:80', 'localhost:0', noAddress),
  server('metricsBind', 'metrics-bind', '127.0.0.1:9100', 'localhost:9', noAddress),
  server('drain', 'drain', 3, 0, ['-1', '86401', 'long', '', 'Infinity']),
  {
    ...names('redis', 'redis'),
    value: 'redis://:a,b@a.test:6379/2',
    other: 'rediss://user:p%40ss@[::1]:7000/0,rediss://user:p%40ss@b.test',
    of: (config) => config.redis?.map(({ href }) => href).join(),
    wrong: [
      'a.test:6379',
      'tcp://a.test:6379',
      'redis://',
      'redis://a.test/name',
      'redis://a.test?db=1',
      'redis://a.test#f',
      'redis://:p%ss@a.test',
      'redis://a.test:7000,b.test:7000',
      'redis://a.test,b.test',
      'redis://a.test, redis://b.test',
      'redis://a.test,redis://b.test,',
      'redis://a.test,http://b.test',
      'redis://a.test,redis://b.test/1',
      'redis://a.test,rediss://b.test',
      'redis://:a@a.test,redis://:b@b.test',
      '',
    ],
    serverOnly: true,
  },
  server('logFormat', 'log-format', 'json', 'logfmt', ['JSON', 'text', '']),
  server('logLevel', 'log-level', 'warn', 'debug', ['trace', 'INFO', '']),
  reconnect('baseDelay', 'base-delay', 500, 200.5, noDelay),
  reconnect('maxDelay', 'max-delay', 5000, 6000, noDelay),
  reconnect('minDelay', 'min-delay', 50, 60, noDelay),
  reconnect('maxRetries', 'max-retries', 3, 0, ['-1', '1.5', 'many', '']),
  reconnect('jitter', 'jitter', 0.5, 1, ['1.1', '-0.1', 'some', '', 'Infinity']),
  reconnect('maxRetryAfter', 'max-retry-after', 0, 5, noTime),
  reconnect('stableAfter', 'stable-after', 0, 9, ['-1', 'long', '']),
  proxy('connectTimeout', 'connect-timeout', 700, 0, noTime),
  proxy('responseTimeout', 'response-timeout', 700, 0, noTime),
  proxy('forwarded', 'forwarded', 'trust', 'off', ['yes', 'Trust', '']),
  proxy('host', 'host', 'client', 'upstream', ['a.test', '']),
  proxy('hosts', 'hosts', ['a.test', 'b.test:80'], ['[::1]'], ['a b', 'http://a.test', 'u@a.test', '']),
  relay('dedupe', 'dedupe', false, true, noFlag),
  relay('identity', 'identity', 'id', 'id+data', ['data', 'ID', '']),
  relay('windowSize', 'window-size', 5000, 1, ['0', '1.5', '8388609', 'Infinity', 'big', '']),
  relay('idleTimeout', 'idle-timeout', 0, 700, noTime),
  relay('idleResetOn', 'idle-reset-on', 'events', 'bytes', ['comments', 'EVENTS', '']),
  relay('maxEventSize', 'max-event-size', 1024, 2048, ['0', '1.5', '99999999999', 'big', '']),
  relay('fastPath', 'fast-path', false, true, noFlag),
  relay('windowBytes', 'window-bytes', 0, 2048, ['-1', '1.5', 'big', '']),
  relay('heartbeat', 'heartbeat', 0, 700, noTime),
  relay('retry', 'retry', 0, 700, noTime),
  relay('resume', 'resume', 'with-cursor', 'before-first-event', ['sometimes', 'Always', '']),
  relay('statusEvents', 'status-events', true, false, noFlag),
  relay('comments', 'comments', false, true, noFlag),
  proxy('share', 'share', true, false, noFlag),
  shared('linger', 'linger', 0, 70, ['-1', 'long', '']),
  shared('keepFor', 'keep-for', 0, 70, noTime),
  shared('stallTimeout', 'stall-timeout', 0, 70, noTime),
  shared('maxAge', 'max-age', 60, 70, noDelay),
  shared('from', 'from', 'start', 'live', ['end', '']),
  shared('onGap', 'on-gap', 'refuse', 'continue', ['fail', '']),
  shared('retentionEvents', 'retention-events', 1, 70, ['0', '1.5', ''], ['retention', 'events']),
  shared('retentionBytes', 'retention-bytes', 1, 70, ['0', '1.5', ''], ['retention', 'bytes']),
  shared('retentionAge', 'retention-age', 1, 70, noDelay, ['retention', 'age']),
]

/** Arguments and environment with an upstream, unless that is what is tried. */
const around = (row: Row) => (row.name === 'upstream' ? {} : { upstream })
const args = (row: Row) => (row.name === 'upstream' ? [] : ['--upstream', upstream])

describe('readConfig', () => {
  it('has the settings of this table and no others', () => {
    const listed = [...helpText().matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, flag]) => flag)
    expect(listed).to.have.members([
      ...rows.map(({ flag }) => flag),
      '--terminal',
      '--config',
      '--help',
      '--version',
    ])
  })

  for (const row of rows) {
    const { name, flag, variable, value, other, of, wrong } = row

    describe(name, () => {
      it('is a flag, a variable and a key of the file', () => {
        using file = fileOf({ defaults: { ...around(row), [name]: value } })
        expect(of(configOf([...args(row), `${flag}=${value}`]))).to.deep.equal(value)
        expect(of(configOf(args(row), { [variable]: String(value) }))).to.deep.equal(value)
        expect(of(configOf(['--config', file.path]))).to.deep.equal(value)
      })

      it('is read from the command line before the environment, and from the environment before the file', () => {
        using file = fileOf({ defaults: { ...around(row), [name]: value } })
        const config = ['--config', file.path]
        expect(of(configOf(config, { [variable]: String(other) }))).to.deep.equal(other)
        expect(of(configOf([...config, `${flag}=${value}`], { [variable]: String(other) }))).to.deep.equal(
          value,
        )
      })

      for (const text of wrong) {
        it(`rejects ${JSON.stringify(text)} in each place`, () => {
          using file = fileOf({ defaults: { ...around(row), [name]: text } })
          using inPath = fileOf({ paths: { '/v1/': { ...around(row), [name]: text } } })
          const says = (message: string, place: string) => {
            expect(message.startsWith(`${place} must be `), message).to.equal(true)
            // A text that is a number is shown as one; of a URL, not all is shown.
            if (!/\bURLs?\b/.test(message))
              expect(message.replaceAll('"', '').endsWith(`, got ${text}`)).to.equal(true)
          }
          says(messageOf([...args(row), `${flag}=${text}`]), flag)
          says(messageOf(args(row), { [variable]: text }), variable)
          says(messageOf(['--config', file.path]), `${file.path}: defaults.${name}`)
          says(messageOf(['--config', inPath.path]), `${inPath.path}: paths./v1/.${name}`)
        })
      }

      for (const json of [null, [], {}, ...(typeof value === 'string' ? [5, true] : ['5'])]) {
        it(`rejects ${JSON.stringify(json)} in a file`, () => {
          using file = fileOf({ defaults: { ...around(row), [name]: json } })
          expect(messageOf(['--config', file.path])).to.match(/: defaults\.\S+ must be .*, got \S/)
        })
      }

      it('is checked even if another place overrides the value', () => {
        const [text = ''] = wrong
        expect(messageOf([...args(row), `${flag}=${value}`], { [variable]: text })).to.include(variable)
      })

      if (row.serverOnly) {
        it('is rejected for a single path', () => {
          using file = fileOf({ paths: { '/v1/': { upstream, [name]: value } } })
          expect(messageOf(['--config', file.path])).to.include(`${file.path}: paths./v1/.${name} `)
        })
      } else {
        it('may differ by path, and flags and variables override the value of a path too', () => {
          using file = fileOf({
            defaults: { upstream, [name]: value },
            paths: { '/v1/': { [name]: other }, '/v2/': {} },
          })
          const at = (path: string, args: string[] = [], env: Environment = {}) =>
            of({
              ...configOf([...args, '--config', file.path], env),
              routes: [{ ...routeOf(configOf([...args, '--config', file.path], env), path), path: '/' }],
            })
          expect(at('/v1/')).to.deep.equal(other)
          expect(at('/v2/')).to.deep.equal(value)
          expect(at('/')).to.deep.equal(value)
          expect(at('/v1/', [`${flag}=${value}`])).to.deep.equal(value)
          expect(at('/v1/', [], { [variable]: String(value) })).to.deep.equal(value)
        })
      }
    })
  }

  it('has defaults for the server, and leaves the defaults of relays to the library', () => {
    const { routes, ...rest } = configOf(['--upstream', upstream])
    expect(rest).to.deep.equal({
      bind: { host: '127.0.0.1', port: 8080 },
      metricsBind: undefined,
      drain: 10,
      redis: undefined,
      logFormat: 'logfmt',
      logLevel: 'info',
    })
    expect(routes).to.have.length(1)
    const { reconnect, isTerminal, endWithoutTerminal, name, ...relay } = routeOf({ ...rest, routes }).relay
    expect([name, endWithoutTerminal, isTerminal?.({ data: '[DONE]' })]).to.deep.equal(['/', 'end', true])
    expect(Object.values({ ...reconnect, ...relay }).filter((value) => value !== undefined)).to.deep.equal([])
  })

  it("shows the library's own defaults in its help", () => {
    const { reconnect, ...options } = checkSourceOptions({})
    const all: Readonly<Record<string, unknown>> = { ...reconnect, ...options }
    const relays = rows.filter(({ name, serverOnly }) => !serverOnly && all[name] !== undefined)
    expect(relays).to.have.length(15)
    for (const { name, flag } of relays)
      expect(helpText()).to.match(new RegExp(`${flag} [^(]*\\(default ${all[name]}\\)`))
  })

  it('shows in its help the default of every option, or none', () => {
    for (const { flag } of rows)
      expect(helpText()).to.match(new RegExp(`^  ${flag} [^(]+\\((default [^ )]+|required)\\)$`, 'm'))
    expect(helpText()).to.match(/--bind [^(]*\(default 127\.0\.0\.1:8080\)/)
    expect(helpText()).to.match(/--metrics-bind [^(]*\(default none\)/)
    expect(helpText()).to.match(/--upstream [^(]*\(required\)/)
  })

  it('accepts Infinity where the library accepts it, in JSON as text', () => {
    using file = fileOf({ defaults: { upstream, maxRetries: 'Infinity' } })
    for (const config of [
      configOf(['--upstream', upstream, '--max-retries', 'Infinity']),
      configOf(['--config', file.path]),
    ])
      expect(routeOf(config).relay.reconnect?.maxRetries).to.equal(Number.POSITIVE_INFINITY)
  })

  for (const [text, host, port] of [
    ['[::1]:81', '::1', 81],
    ['0.0.0.0:81', '0.0.0.0', 81],
    [':81', '127.0.0.1', 81],
    ['81', '127.0.0.1', 81],
    ['0', '127.0.0.1', 0],
  ] as const) {
    it(`reads ${text} as port ${port} on ${host}`, () => {
      const config = configOf(['--upstream', upstream, '--bind', text, '--metrics-bind', text])
      expect(config.bind).to.deep.equal({ host, port })
      expect(config.metricsBind).to.deep.equal({ host, port })
    })
  }

  it('shows nothing of the password in a wrong URL of Redis', () => {
    const words = ['secret', 's/ecret', 's%ecret', 's@cret', 's#cret']
    for (const secret of words) {
      for (const url of [
        `redis://u:${secret}@a.test/x`,
        `redis:u:${secret}@a.test`,
        `a:${secret}@b`,
        `http://a:${secret}@b`,
        `redis://a,//u:${secret}@b`,
        `redis://a,redis://u:${secret}@b/1`,
        `redis://a,http://u:${secret}@b`,
        `redis://u:${secret}@a,redis://b`,
        `redis://u:${secret}@a,b`,
        `redis://u:s,redis://${secret}@a`,
      ])
        expect(messageOf(['--upstream', upstream, '--redis', url])).not.to.match(/ecret|cret/)
    }
  })

  it('refuses a minDelay above maxDelay, even if they are set in two places', () => {
    const base = ['--upstream', upstream]
    expect(messageOf([...base, '--min-delay', '31000'])).to.equal(
      '--min-delay must not be above maxDelay (30000), got 31000',
    )
    expect(messageOf([...base, '--min-delay', '70'], { RESILIENT_SSE_MAX_DELAY: '60' })).to.equal(
      '--min-delay must not be above RESILIENT_SSE_MAX_DELAY (60), got 70',
    )
    using file = fileOf({ defaults: { upstream, maxDelay: 60 }, paths: { '/v1/': { minDelay: 70 } } })
    expect(messageOf(['--config', file.path])).to.equal(
      `${file.path}: paths./v1/.minDelay must not be above ${file.path}: defaults.maxDelay (60), got 70`,
    )
    expect(() => readConfig([...base, '--max-delay', '50'], {}), 'below the default').not.to.throw()
  })

  it('never shows the password of an upstream', () => {
    expect(messageOf(['--upstream', 'http://me:secret@a.test/'])).not.to.include('secret')
    expect(messageOf(['--upstream', 'ftp://me:secret@a.test/?key=secret'])).not.to.include('secret')
  })

  describe('refuses', () => {
    it('an upstream that is missing, naming the path that lacks it', () => {
      expect(messageOf([])).to.match(/^--upstream is missing.* RESILIENT_SSE_UPSTREAM/)
      using file = fileOf({ paths: { '/v1/': { upstream }, '/v2/': {} } })
      expect(messageOf(['--config', file.path])).to.include(`${file.path}: paths./v2/.upstream is missing`)
    })

    it('unknown names in the file, the flags and the environment', () => {
      expect(messageOf(['--upstream', upstream, '--base', '5'])).to.include('--base')
      expect(messageOf(['--upstream', upstream, 'stray'])).to.include('stray')
      expect(messageOf(['--upstream'])).to.include('--upstream')
      expect(messageOf(['--upstream', upstream], { RESILIENT_SSE_BASEDELAY: '5' })).to.include(
        'RESILIENT_SSE_BASEDELAY',
      )
      for (const [content, place] of [
        [{ defaults: { upstream, 'base-delay': 5 } }, 'defaults.base-delay'],
        [{ paths: { '/v1/': { upstream, headers: {} } } }, 'paths./v1/.headers'],
        [{ upstream }, 'upstream'],
        ['{"defaults": {"__proto__": 5}}', 'defaults.__proto__'],
        ['{"defaults": {"constructor": 5}}', 'defaults.constructor'],
      ] as const) {
        using file = fileOf(content)
        expect(messageOf(['--config', file.path])).to.include(`${file.path}: ${place} `)
      }
    })

    for (const [args, env, message] of [
      [['--bse-delay', '5'], {}, '--bse-delay is not an option, did you mean --base-delay?'],
      [['--bse-delay=5'], {}, '--bse-delay is not an option, did you mean --base-delay?'],
      [['--halp'], {}, '--halp is not an option, did you mean --help?'],
      [['--nonsense'], {}, '--nonsense is not an option'],
      [['-x'], {}, '-x is not an option'],
      [
        [],
        { RESILIENT_SSE_BASEDELAY: '5' },
        'RESILIENT_SSE_BASEDELAY is not a setting, did you mean RESILIENT_SSE_BASE_DELAY?',
      ],
      [[], { RESILIENT_SSE_X: '5' }, 'RESILIENT_SSE_X is not a setting'],
    ] as const) {
      it(`${[...args, ...Object.keys(env)].join(' ')}, and proposes the nearest known one`, () => {
        expect(messageOf(args, env)).to.equal(message)
      })
    }

    it('an unknown key of a file, and proposes the nearest known one', () => {
      using file = fileOf({ defaults: { 'base-delay': 5 } })
      using other = fileOf({ paths: { '/v1/': { hartbeat: 5 } } })
      expect(messageOf(['--config', file.path])).to.equal(
        `${file.path}: defaults.base-delay is not a setting, did you mean baseDelay?`,
      )
      expect(messageOf(['--config', other.path])).to.equal(
        `${other.path}: paths./v1/.hartbeat is not a setting, did you mean heartbeat?`,
      )
    })

    for (const [content, place, got] of [
      ['[]', '', '[object Array]'],
      ['5', '', '5'],
      ['{"defaults": 5}', ': defaults', '5'],
      ['{"paths": []}', ': paths', '[object Array]'],
      ['{"paths": {"/v1/": null}}', ': paths./v1/', 'null'],
      ['{"paths": {"v1": {}}}', ': paths.v1', '"v1"'],
      ['{"paths": {"/v1?a": {}}}', ': paths./v1?a', '"/v1?a"'],
    ] as const) {
      it(`${content} as a file`, () => {
        using file = fileOf(content)
        const message = messageOf(['--config', file.path])
        expect(message.startsWith(`${file.path}${place} must be `), message).to.equal(true)
        expect(message.endsWith(`got ${got}`), message).to.equal(true)
      })
    }

    it('a file that does not exist, and a file that is not JSON', () => {
      expect(messageOf(['--config', '/nowhere/conf.json'])).to.match(
        /^--config: .*\/nowhere\/conf.json.*ENOENT/,
      )
      expect(messageOf([], { RESILIENT_SSE_CONFIG: '/nowhere' })).to.match(/^RESILIENT_SSE_CONFIG: .*ENOENT/)
      using file = fileOf('{"defaults": ')
      expect(messageOf(['--config', file.path])).to.include(`${file.path} (--config) is not JSON`)
    })
  })

  it('names the streams of each path after the path', () => {
    using file = fileOf({ defaults: { upstream }, paths: { '/v1/': {} } })
    const { routes } = configOf(['--config', file.path])
    expect(routes.map(({ relay }) => relay.name)).to.deep.equal(['/v1/', '/'])
  })

  it('reads the file that the environment names, unless the command line names one', () => {
    using one = fileOf({ defaults: { upstream, retry: 1 } })
    using two = fileOf({ defaults: { upstream, retry: 2 } })
    const env = { RESILIENT_SSE_CONFIG: one.path }
    expect(routeOf(configOf([], env)).relay.retry).to.equal(1)
    expect(routeOf(configOf(['--config', two.path], env)).relay.retry).to.equal(2)
  })

  it('answers --help, -h and --version whatever else is missing', () => {
    expect(readConfig(['--help'], {})).to.equal('help')
    expect(readConfig(['-h'], {})).to.equal('help')
    expect(readConfig(['--version'], { RESILIENT_SSE_DRAIN: 'x' })).to.equal('version')
  })

  it('makes a route for all other paths only when there is an upstream for them', () => {
    const paths = { '/v1/': { upstream }, '/v1/long/': { upstream } }
    using alone = fileOf({ paths })
    using withRest = fileOf({ defaults: { upstream }, paths })
    const pathsOf = (file: string) => configOf(['--config', file]).routes.map(({ path }) => path)
    expect(pathsOf(alone.path)).to.deep.equal(['/v1/long/', '/v1/'])
    expect(pathsOf(withRest.path)).to.deep.equal(['/v1/long/', '/v1/', '/'])
  })
})

describe('routeFor', () => {
  using file = fileOf({
    paths: Object.fromEntries(['/', '/v1', '/v1/chat/', '/v2/'].map((path) => [path, { upstream }])),
  })
  const { routes } = configOf(['--config', file.path])

  for (const [path, route] of [
    ['/', '/'],
    ['/v1', '/v1'],
    ['/v1/x', '/v1'],
    ['/v10', '/'],
    ['/v1/chat', '/v1'],
    ['/v1/chat/', '/v1/chat/'],
    ['/v1/chat/x/y', '/v1/chat/'],
    ['/v2', '/'],
    ['/v2/', '/v2/'],
    ['/V2/', '/'],
  ] as const) {
    it(`sends ${path} to ${route}`, () => {
      expect(routeFor(routes, path)?.path).to.equal(route)
    })
  }

  it('returns undefined when no route fits', () => {
    expect(routeFor([{ path: '/v1/' }], '/v2/')).to.equal(undefined)
  })
})
