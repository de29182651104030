import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { startNode } from './support/child.ts'
import { get, has } from './support/client.ts'
import { wire } from './support/events.ts'
import { ends, resets, serveInTurn, stays } from './support/server.ts'
import { until } from './support/until.ts'

const text = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')

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

  it('names every option of a source, with its default', () => {
    const readme = text('README.md')
    const names = [...text('src/reconnect/options.ts').matchAll(/^ {2}readonly (\w+)\?: /gm)].map(
      ([, name]) => name,
    )
    expect(names).to.have.length.above(20)
    for (const name of names.filter((name) => name !== 'reconnect'))
      expect(readme, name).to.match(new RegExp(`\\| \`(reconnect\\.)?${name}\` \\|`))
  })

  it('names every error code', () => {
    const codes = text('src/errors.ts').match(/ERR_SSE_\w+/g) ?? []
    for (const code of codes) expect(text('README.md')).to.include(code)
  })
})
