import type { RequestListener } from 'node:http'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { streamText } from 'ai'
import { expect } from 'chai'
import OpenAI from 'openai'
import { answers, ends, serve, stays } from '../support/server.ts'
import { kinds, startGateway } from './support/gateway.ts'
import { breaksOff, collect } from './support/stream.ts'

const words = ['A', ' completion', ' in', ' five', ' words']

/** A chunk of a chat completion, as the API writes it: without an id of its own on the wire. */
const chunk = (content: string, reason: string | null = null) =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt',
    choices: [{ index: 0, delta: { content }, finish_reason: reason }],
  })}\n\n`

const chunks = words.map((word) => chunk(word))
const completion = [...chunks, chunk('', 'stop'), 'data: [DONE]\n\n']

/** An SDK and what stands behind it. Its own retries are off, so that each request is one. */
async function openAiAt(kind: (typeof kinds)[number], upstream: RequestListener) {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await serve(upstream))
  const gateway = stack.use(await startGateway(kind, `http://127.0.0.1:${server.port}`, { baseDelay: 50 }))
  const baseURL = `${gateway.url}/v1`
  const client = new OpenAI({ apiKey: 'key', baseURL, maxRetries: 0 })
  const owned = stack.move()
  return { server, baseURL, client, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const complete = async (client: OpenAI) => {
  const messages = [{ role: 'user' as const, content: 'Say it' }]
  return client.chat.completions.create({ model: 'gpt', messages, stream: true })
}

const wordsOf = (got: readonly OpenAI.ChatCompletionChunk[]) =>
  got.map(({ choices }) => choices[0]?.delta.content).filter(Boolean)

for (const kind of kinds) {
  describe(`OpenAI's SDK, at ${kind}`, () => {
    it('streams a completion that is requested once', async () => {
      // Its connection stays open behind `[DONE]`, as some servers do.
      await using world = await openAiAt(kind, stays(...completion))
      const { got, error } = await collect(await complete(world.client))
      expect(error).to.equal(undefined)
      expect(wordsOf(got)).to.deep.equal(words)
      expect(world.server.requests).to.have.length(1)
    })

    it('fails when a completion is cut off, and does not request it again', async () => {
      await using world = await openAiAt(kind, breaksOff(...chunks))
      const { got, error } = await collect(await complete(world.client))
      expect(wordsOf(got)).to.deep.equal(words)
      expect(error).to.be.instanceOf(Error)
      expect(world.server.requests).to.have.length(1)
    })

    it("gets a refusal's status and body", async () => {
      const body = { error: { message: 'no such model', code: 'model_not_found' } }
      const refusal = answers(404, { 'content-type': 'application/json' }, JSON.stringify(body))
      await using world = await openAiAt(kind, refusal)
      const error = await complete(world.client).catch((error: unknown) => error)
      expect(error).to.include({ status: 404, code: 'model_not_found' })
      expect(world.server.requests).to.have.length(1)
    })
  })

  describe(`the AI SDK, at ${kind}`, () => {
    /** Streams a text of the openai-compatible provider. */
    function text(baseURL: string) {
      const model = createOpenAICompatible({ name: 'field', baseURL, apiKey: 'key' })('gpt')
      return streamText({ model, prompt: 'Say it', maxRetries: 0, onError: () => {} })
    }

    it('streams a text that is requested once', async () => {
      await using world = await openAiAt(kind, ends(...completion))
      const { got, error } = await collect(text(world.baseURL).textStream)
      expect(error).to.equal(undefined)
      expect(got.join('')).to.equal(words.join(''))
      expect(world.server.requests).to.have.length(1)
    })

    it('fails when a text is cut off, and does not request it again', async () => {
      await using world = await openAiAt(kind, breaksOff(...chunks))
      const { got, error } = await collect(text(world.baseURL).fullStream)
      expect(got.filter(({ type }) => type === 'text-delta')).to.have.length(words.length)
      expect(error).to.be.instanceOf(Error)
      expect(world.server.requests).to.have.length(1)
    })
  })
}

describe("OpenAI's responses that are streamed again, at the command", () => {
  /** Its place stands in the data; on the wire there is no id. */
  const event = (sequence: number) =>
    `event: response.output_text.delta\ndata: ${JSON.stringify({
      type: 'response.output_text.delta',
      sequence_number: sequence,
      item_id: 'msg_1',
      output_index: 0,
      content_index: 0,
      delta: 'x',
    })}\n\n`
  const events = Array.from({ length: 22 }, (_, n) => event(n))
  const retrieve = (client: OpenAI) => client.responses.retrieve('resp_1', { stream: true })

  it('end once', async () => {
    await using world = await openAiAt('the command', ends(...events))
    const { got, error } = await collect(await retrieve(world.client), 2 * events.length)
    expect(error).to.equal(undefined)
    expect(got.map((each) => each.sequence_number)).to.deep.equal(events.map((_, n) => n))
    expect(world.server.requests).to.have.length(1)
  })

  it('fail when they are cut off', async () => {
    await using world = await openAiAt('the command', breaksOff(...events))
    const { got, error } = await collect(await retrieve(world.client), 2 * events.length)
    expect(got).to.have.length(events.length)
    expect(error).to.be.instanceOf(Error)
    expect(world.server.requests).to.have.length(1)
  })
})
