import { expect } from 'chai'
import { httpUpstream } from '../../src/index.ts'
import { fast, wire } from '../support/events.ts'
import { dataOf, inEachMode, outcomeOf } from '../support/modes.ts'
import { answers, resets, serve, serveInTurn, stays } from '../support/server.ts'

inEachMode('the cursor', ({ open }) => {
  const idsOf = (server: { requests: { headers: NodeJS.Dict<string | string[]> }[] }) =>
    server.requests.map(({ headers }) => headers['last-event-id'])

  it('starts from the lastEventId option', async () => {
    await using server = await serve(stays(wire(8, 'end')))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      lastEventId: '7',
      last: 'end',
    })
    expect(source.lastEventId).to.equal('7')
    await dataOf(source)
    expect(idsOf(server)).to.deep.equal(['7'])
    expect(source.lastEventId).to.equal('8')
  })

  it('moves with a block that has an id alone', async () => {
    await using server = await serveInTurn(resets(wire(1), 'id: 5\n\n'), stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'end',
    })
    await outcomeOf(source)
    expect(idsOf(server)).to.deep.equal([undefined, '5'])
  })

  it('is cleared by an empty id', async () => {
    await using server = await serveInTurn(resets(wire(1), 'id\ndata: x\n\n'), stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'end',
    })
    await outcomeOf(source)
    expect(idsOf(server)).to.deep.equal([undefined, undefined])
    expect(source.stats.gaps).to.equal(1)
  })

  it('ignores an id with NUL', async () => {
    await using server = await serveInTurn(resets(wire(1), 'id: 2\0\ndata: x\n\n'), stays('data: end\n\n'))
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'end',
    })
    await outcomeOf(source)
    expect(idsOf(server)).to.deep.equal([undefined, '1'])
  })

  it('is inherited by events without an id, also on later connections, and kept over a connection without ids', async () => {
    await using server = await serveInTurn(
      resets(wire(1), 'data: x\n\n'),
      resets('data: y\n\n'),
      resets(': nothing\n\n'),
      answers(503),
      stays('data: end\n\n'),
    )
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'end',
    })
    expect(await dataOf(source)).to.deep.equal(['event 1', 'x', 'y', 'end'])
    expect(idsOf(server)).to.deep.equal([undefined, '1', '1', '1', '1'])
    expect(source.lastEventId).to.equal('1')
  })

  for (const [client, dial] of [
    ['node:http', (url: string) => httpUpstream(url)],
    [
      'fetch',
      (url: string) => (context: { headers: Readonly<Record<string, string>> }) => fetch(url, context),
    ],
  ] as const) {
    it(`goes into the header as UTF-8 through ${client}`, async () => {
      await using server = await serveInTurn(resets(wire('日本 é', 'x')), stays('data: end\n\n'))
      const source = open(dial(server.url), { reconnect: fast, last: 'end' })
      await outcomeOf(source)
      const header = server.requests[1]?.headers['last-event-id']
      expect(Buffer.from(String(header), 'latin1').toString()).to.equal('日本 é')
    })
  }

  it('comes from cursor(event) into a query, with another verb on resume', async () => {
    const event = (n: number) => `data: {"sequence_number":${n}}\n\n`
    await using server = await serveInTurn(resets(event(1) + event(2)), resets(': none\n\n'), stays(event(3)))
    const source = open(
      (context) => {
        if (context.cursor === undefined)
          return httpUpstream(server.url, { method: 'POST', body: '{}' })(context)
        return httpUpstream(`${server.url}?after=${context.cursor}`)(context)
      },
      {
        reconnect: fast,
        resume: 'with-cursor',
        cursor: ({ data = '' }) => String(JSON.parse(data).sequence_number),
        last: '{"sequence_number":3}',
      },
    )
    expect(await dataOf(source)).to.have.length(3)
    expect(server.requests.map(({ method, url }) => `${method} ${url}`)).to.deep.equal([
      'POST /events',
      'GET /events?after=2',
      'GET /events?after=2',
    ])
    expect(source.stats.gaps).to.equal(0)
  })

  it('does not come from a block without data: cursor(event) is not called', async () => {
    const asked: (string | undefined)[] = []
    const source = open(
      async function* () {
        yield 'id: 1\n\ndata: end\n\n'
      },
      { reconnect: fast, cursor: ({ data }) => void asked.push(data), last: 'end' },
    )
    expect(await dataOf(source)).to.deep.equal([undefined, 'end'])
    expect(asked).to.deep.equal(['end'])
  })

  it('does not move back at repeats', async () => {
    await using server = await serveInTurn(
      resets(`${wire(1)}id: 2\n\n${wire(3)}`),
      resets(wire(1), 'id: 2\n\n'),
      stays(wire(4, 'end')),
    )
    const source = open(httpUpstream(server.url), {
      reconnect: fast,
      last: 'end',
    })
    await outcomeOf(source)
    expect(idsOf(server)).to.deep.equal([undefined, '3', '3'])
  })
})
