import { expect } from 'chai'
import { startNode } from '../support/child.ts'
import { get, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { portOf } from '../support/example.ts'
import { blockWith, pageText, runPage, servePage } from '../support/pages.ts'
import { ends, isLeft, resets, serveInTurn, stays } from '../support/server.ts'
import { until } from '../support/until.ts'

const page = 'docs/getting-started.md'

describe('docs/getting-started.md', () => {
  for (const file of ['examples/raw-http.ts', 'examples/express.ts']) {
    it(`shows ${file} as it is`, () => {
      expect(pageText(page)).to.include(`\`\`\`ts\n${pageText(file)}\`\`\``)
    })

    it(`${file} survives a dying upstream, resumes a client, and closes the upstream when the client leaves`, async () => {
      await using upstream = await serveInTurn(
        resets(wire(8), 'id: 9\ndata: ha'),
        ends(wire(9)),
        stays(wire(10)),
      )
      await using example = await startNode(file, [], { UPSTREAM: upstream.url, PORT: '0' })
      const url = `http://localhost:${await portOf(example)}/events`
      const client = await get(url, { 'last-event-id': '7' })
      await has(client, 'event 10')
      expect(client.headers['content-type']).to.match(/^text\/event-stream(; charset=utf-8)?$/)
      expect(client.text).to.equal(wire(8) + wire(9) + wire(10))
      expect(upstream.requests.map(({ headers }) => headers['last-event-id'])).to.deep.equal(['7', '8', '9'])
      client.leave()
      await isLeft(upstream)
    })
  }

  it('has an upstream that breaks after three events, and goes on after the last event ID', async () => {
    await using upstream = await servePage(blockWith(page, 'resetAndDestroy'), {})
    const client = await get(upstream.url, { 'last-event-id': '7' })
    expect(await client.ended).to.equal('broken')
    expect(client.text).to.equal(wire(8) + wire(9) + wire(10))
  })

  it('reads that upstream as bytes, over a connection that breaks', async () => {
    await using upstream = await servePage(blockWith(page, 'resetAndDestroy'), {})
    await using reader = await runPage(blockWith(page, 'source.pipe(process.stdout)'), {
      'http://localhost:3000': upstream.url,
    })
    await until(
      () => reader.program.out.includes(wire(3) + wire(4)),
      () => `event 4 in ${reader.program.out}${reader.program.err}`,
    )
  })

  it('reads that upstream as events, which a stage of a pipeline changes', async () => {
    await using upstream = await servePage(blockWith(page, 'resetAndDestroy'), {})
    await using reader = await runPage(blockWith(page, 'createDedupe(tracker)'), {
      'http://localhost:3000': upstream.url,
    })
    await until(
      () => reader.program.out.includes(wire(4, 'EVENT 4')),
      () => `EVENT 4 in ${reader.program.out}${reader.program.err}`,
    )
    expect(reader.program.out).to.include('\n5 undefined event 5 5\n')
  })
})
