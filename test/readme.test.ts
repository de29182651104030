import { readFileSync } from 'node:fs'
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
import { startNode } from './support/child.ts'
import { get, has } from './support/client.ts'
import { wire } from './support/events.ts'
import { ends, resets, serveInTurn, stays } from './support/server.ts'
import { until } from './support/until.ts'

const text = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')

/** The tables of options: each name with its default, as they are written. */
const tables = text('README.md')
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
  for (const file of ['examples/raw-http.ts', 'examples/express.ts']) {
    it(`shows ${file} as it is`, () => {
      expect(text('README.md')).to.include(`\`\`\`ts\n${text(file)}\`\`\``)
    })

    it(`${file} survives a dying upstream, resumes a client, and closes the upstream when the client leaves`, async () => {
      await using upstream = await serveInTurn(
        resets(wire(8), 'id: 9\ndata: ha'),
        ends(wire(9)),
        stays(wire(10)),
      )
      await using example = startNode([file], { UPSTREAM: upstream.url, PORT: '0' })
      const port = () => /port: (\d+)/.exec(example.out)?.[1]
      await until(
        () => port() !== undefined,
        () => 'the example listens',
      )
      const url = `http://localhost:${port()}/events`
      const client = await get(url, { 'last-event-id': '7' })
      await has(client, 'event 10')
      expect(client.headers['content-type']).to.match(/^text\/event-stream(; charset=utf-8)?$/)
      expect(client.text).to.equal(wire(8) + wire(9) + wire(10))
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal(['7', '8', '9'])
      client.leave()
      await until(
        () => upstream.requests[2]?.socket.destroyed === true,
        () => 'the upstream closes',
      )
    }).timeout(20_000)
  }

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

  it('names every error code', () => {
    const codes = text('src/errors.ts').match(/ERR_SSE_\w+/g) ?? []
    for (const code of codes) expect(text('README.md')).to.include(code)
  })
})
