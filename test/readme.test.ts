import { expect } from 'chai'
import {
  hubOptions,
  optionsOfHead,
  optionsOfLog,
  optionsOfPlace,
  retentionOptions,
} from '../src/hub/options.ts'
import type { Option } from '../src/options.ts'
import { proxyOptions } from '../src/proxy/options.ts'
import { reconnectOptions, sourceOptions } from '../src/reconnect/options.ts'
import { relayOptions } from '../src/relay/options.ts'
import { pageText } from './support/pages.ts'

/** The tables of options: each name with its default, as they are written. */
const tables = pageText('docs/options.md')
  .split('| option | default | |\n')
  .slice(1)
  .map((after) => {
    const [rows = ''] = after.split('\n\n', 1)
    return new Map(
      [...rows.matchAll(/^\| `([\w.]+)` \| (.*?) \|/gm)].map(([, name = '', cell]) => [name, cell]),
    )
  })

/** The default that a cell means; undefined for prose. */
function meant(cell: string | undefined): unknown {
  const [, number, mebi, word, choice] =
    /^(?:([\d.]+)( MiB)?|(true|false|required)|`'(.+)'`)$/.exec(cell ?? '') ?? []
  if (number !== undefined) return Number(number) * (mebi ? 2 ** 20 : 1)
  return word === 'true' || word === 'false' ? word === 'true' : (word ?? choice)
}

/** The same of an option; undefined for none, and for an empty object. */
function defaultOf(option: Option<unknown, unknown>): unknown {
  if (option.required) return 'required'
  return typeof option.default === 'object' ? undefined : option.default
}

describe('the README', () => {
  const text = pageText('README.md')

  it('has at most 1,200 words, with its code and tables', () => {
    expect(text.split(/\s+/).filter((word) => word !== '').length).to.be.at.most(1200)
  })

  it('says in its first screen how the package is installed, and how a clone is', () => {
    const screen = text.split('\n').slice(0, 24).join('\n')
    for (const command of ['npm install resilient-sse', '`npm ci`', '`npm test`'])
      expect(screen).to.include(command)
  })
})

describe('docs/options.md', () => {
  const { reconnect, ...ofSources } = sourceOptions
  const ofReconnects = Object.entries(reconnectOptions).map(
    ([name, option]) => [`reconnect.${name}`, option] as const,
  )
  const ofRelays = Object.entries(relayOptions).filter(([name]) => !Object.hasOwn(sourceOptions, name))
  const { retention, ...ofLogs } = optionsOfLog
  const ofRetention = Object.entries(retentionOptions).map(
    ([name, option]) => [`retention.${name}`, option] as const,
  )
  for (const [of, options] of [
    ['relaySse', ofRelays],
    ['createSseHub', Object.entries(hubOptions)],
    [
      'a shared stream',
      [
        ...Object.entries(ofLogs),
        ...ofRetention,
        ...Object.entries(optionsOfPlace),
        ...Object.entries(optionsOfHead),
      ],
    ],
    ['createSseProxy', Object.entries(proxyOptions)],
    ['a source', [...ofReconnects, ...Object.entries(ofSources)]],
  ] as const) {
    it(`has the options of ${of} with their defaults, and no others`, () => {
      const rows = tables.find((table) => table.has(options[0]?.[0] ?? ''))
      expect([...(rows?.keys() ?? [])]).to.have.members(options.map(([name]) => name))
      for (const [name, option] of options) expect(meant(rows?.get(name)), name).to.equal(defaultOf(option))
    })
  }

  it('has no other tables of options', () => {
    expect(tables).to.have.length(5)
  })
})

describe('docs/what-happens.md', () => {
  it('has every error code in its table, and no others', () => {
    const codes = new Set(pageText('src/errors.ts').match(/ERR_SSE_\w+/g))
    const rows = Array.from(
      pageText('docs/what-happens.md').matchAll(/^\| `(ERR_SSE_\w+)` \|/gm),
      ([, code = '']) => code,
    )
    expect(rows).to.have.members([...codes])
  })
})
