import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { RequestListener } from 'node:http'
import { expect } from 'chai'
import { createResilientSseSource, httpUpstream, type SourceOptions } from '../../src/index.ts'
import { drain, fast, lastIs, wire } from '../support/events.ts'
import { ends, resets, serveInTurn, stays, stream } from '../support/server.ts'

/** Events under the ids from 1 on, whose data is always the same. */
const counted = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => wire(from + n, 'tick')).join('')

/** What a stream over these connections warns of, as fields of its log lines. */
async function warnings(scripts: [RequestListener, ...RequestListener[]], options: SourceOptions = {}) {
  await using server = await serveInTurn(...scripts)
  const lines: object[] = []
  const quiet = () => {}
  const warn = (fields: object, message: string) => lines.push({ message, ...fields })
  const source = createResilientSseSource(httpUpstream(server.url), {
    reconnect: fast,
    isTerminal: lastIs('end'),
    logger: { debug: quiet, info: quiet, warn, error: quiet },
    ...options,
  })
  const { error } = await drain(source)
  if (error) throw error
  return lines
}

const last = ends(wire('last', 'end'))

describe('a warning about repeats', () => {
  it('is given once, when a connection with only repeats ends', async () => {
    const found = await warnings([ends(counted(1, 5)), ends(counted(1, 4)), ends(counted(1, 3)), last])
    expect(found).to.have.length(1)
    expect(found[0]).to.include({ repeats: 4, cursor: '5' })
    expect(found[0])
      .to.have.property('message')
      .that.includes('ignores Last-Event-ID, or counts from 1 again')
  })

  it('is given after 20 repeats, while the connection is open', async () => {
    let said = false
    const onMessage = () => {
      said = true
    }
    subscribe('resilient-sse:repeats', onMessage)
    const found = await warnings([
      ends(counted(1, 157)),
      (_, response) => {
        stream(response, counted(1, 19))
        response.write(wire(20, 'tick'))
        const look = () => (said ? response.end(wire('last', 'end')) : setImmediate(look))
        look()
      },
    ])
    unsubscribe('resilient-sse:repeats', onMessage)
    expect(found).to.have.length(1)
    expect(found[0]).to.include({ repeats: 20 })
  })

  for (const [name, options] of Object.entries({ 'read one by one': { windowBytes: 0 }, 'as bytes': {} })) {
    it(`is given for events ${name}`, async () => {
      const found = await warnings([resets(counted(1, 3)), resets(counted(1, 3)), last], options)
      expect(found).to.have.length(1)
    })
  }

  const innocent: Record<string, [RequestListener, ...RequestListener[]]> = {
    'repeats before a fresh event': [ends(counted(1, 9)), ends(counted(1, 10)), last],
    'repeats after a fresh event': [ends(counted(1, 9)), ends(counted(10, 10) + counted(1, 9)), last],
    'the event of the cursor alone': [
      ends(counted(1, 9)),
      resets(counted(9, 9)),
      resets(counted(9, 9)),
      last,
    ],
    'a connection without events': [ends(counted(1, 9)), ends(), ends(), last],
    'repeats within one connection': [stays(counted(1, 40) + counted(1, 40) + wire('last', 'end'))],
  }
  for (const [name, scripts] of Object.entries(innocent)) {
    it(`is not given for ${name}`, async () => {
      expect(await warnings(scripts)).to.deep.equal([])
    })
  }

  it('is not given with dedupe: false, because no repeat is dropped', async () => {
    expect(await warnings([ends(counted(1, 9)), ends(counted(1, 9)), last], { dedupe: false })).to.deep.equal(
      [],
    )
  })
})
