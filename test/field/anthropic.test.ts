import type { RequestListener } from 'node:http'
import Anthropic from '@anthropic-ai/sdk'
import { expect } from 'chai'
import { ends, serve } from '../support/server.ts'
import { kinds, startGateway } from './support/gateway.ts'
import { breaksOff } from './support/stream.ts'

const words = ['A', ' message', ' in', ' five', ' words']

const event = (data: { type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
const delta = (text: string) => {
  const data = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }
  return event(data)
}
const usage = { input_tokens: 1, output_tokens: 5 }
const message = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude',
  content: [],
  stop_reason: null,
  stop_sequence: null,
  usage,
}
const start = { type: 'message_start', message }
const block = { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }
const end = { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage }
const opening = [event(start), event(block), event({ type: 'ping' }), ...words.map(delta)]
const closing = [event({ ...block, type: 'content_block_stop' }), event(end), event({ type: 'message_stop' })]

for (const kind of kinds) {
  describe(`Anthropic's SDK, at ${kind}`, () => {
    /** Streams a message to its end, or its failure. */
    async function streamFrom(upstream: RequestListener) {
      await using server = await serve(upstream)
      await using gateway = await startGateway(kind, `http://127.0.0.1:${server.port}`, { baseDelay: 50 })
      const client = new Anthropic({ apiKey: 'key', baseURL: gateway.url, maxRetries: 0 })
      let text = ''
      const stream = client.messages
        .stream({ model: 'claude', max_tokens: 9, messages: [{ role: 'user', content: 'Say it' }] })
        .on('text', (delta) => {
          text += delta
        })
      const error = await stream.done().then(
        () => undefined,
        (error: unknown) => error,
      )
      return { text, error, requests: server.requests.length }
    }

    it('streams a message that is requested once', async () => {
      const { text, error, requests } = await streamFrom(ends(...opening, ...closing))
      expect(error).to.equal(undefined)
      expect(text).to.equal(words.join(''))
      expect(requests).to.equal(1)
    })

    it('fails when a message is cut off, and does not request it again', async () => {
      const { text, error, requests } = await streamFrom(breaksOff(...opening))
      expect(text).to.equal(words.join(''))
      expect(error).to.be.instanceOf(Error)
      expect(requests).to.equal(1)
    })
  })
}
