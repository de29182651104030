import { once } from 'node:events'
import http from 'node:http'
import { expect } from 'chai'
import { feed, lend } from '../../src/http/parser-feed.ts'
import { dial, read, serveRaw } from '../support/dialling.ts'

describe("the parser's function for a body", () => {
  it('gets no copy of bytes that are only counted, and what is fed after them', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    let answers = 0
    await using upstream = await serveRaw((socket) => {
      const answer = () => {
        // The rest of the first answer does not come from the connection.
        const rest = answers++ === 0 ? '' : 'x'.repeat(10_003)
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 10003\r\n\r\n${rest}`)
      }
      socket.on('data', answer)
      answer()
    })
    const response = await dial(upstream.url, { agent })
    const { socket } = response
    let pushed = ''
    const { push } = response
    response.push = (chunk: unknown, encoding?: BufferEncoding) => {
      pushed += `${chunk}|`
      return push.call(response, chunk, encoding)
    }
    response.resume()
    for (let n = 0; n < 10; n++) lend(socket, Buffer.alloc(1000, 'x'))
    expect(pushed).to.equal('')
    feed(socket, Buffer.from('abc'))
    expect(pushed).to.equal('abc|null|')
    await once(response, 'end')
    // The parser may serve the next answer.
    expect(await read(dial(upstream.url, { agent }))).to.have.length(10_003)
    agent.destroy()
  })
})
