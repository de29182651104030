import type { ServerResponse } from 'node:http'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { getRequestListener } from '@hono/node-server'
import {
  createUIMessageStreamResponse,
  DefaultChatTransport,
  streamText,
  toUIMessageStream,
  type UIMessageChunk,
} from 'ai'
import { expect } from 'chai'
import { createSseHub, type SharedStreamOptions } from 'resilient-sse'
import { isLeft, serve, stream } from '../support/server.ts'
import { until } from '../support/until.ts'

const words = ['An', ' answer', ' in', ' five', ' words']

/** A chunk of a chat completion, as the API writes it. */
const chunk = (content: string, reason: string | null = null) =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt',
    choices: [{ index: 0, delta: { content }, finish_reason: reason }],
  })}\n\n`

const session: SharedStreamOptions = {
  linger: Number.POSITIVE_INFINITY,
  from: 'start',
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
}

/** The routes of a chat, with the AI SDK on the server and a model whose tokens the test sends. */
async function serveChat() {
  let answering: ServerResponse | undefined
  const model = await serve((_, response) => {
    answering = stream(response)
  })
  const provider = createOpenAICompatible({ name: 'field', baseURL: model.url, apiKey: 'key' })
  const hub = createSseHub()
  const name = 'chat:7:1'
  const server = await serve(
    getRequestListener(async (request) => {
      if (request.method === 'POST') {
        const answer = ({ signal }: { readonly signal: AbortSignal }) => {
          const { stream } = streamText({ model: provider('gpt'), prompt: 'Say it', abortSignal: signal })
          return createUIMessageStreamResponse({ stream: toUIMessageStream({ stream }) })
        }
        return hub.respond(request, name, answer, session)
      }
      if (request.method === 'DELETE')
        return new Response(null, { status: (await hub.cancel(name)) ? 202 : 404 })
      const status = await hub.status(name)
      if (status?.state !== 'running') return new Response(null, { status: 204 })
      return hub.respond(request, name, undefined, session)
    }),
  )
  const api = `${new URL(server.url).origin}/api/chat`
  return {
    model,
    server,
    api,
    transport: new DefaultChatTransport({ api }),
    async send(text: string, isLast = false) {
      await until(
        () => answering !== undefined,
        () => 'the model is asked',
      )
      answering?.write(text)
      // The provider reads to the end of the connection.
      if (isLast) answering?.end()
    },
    async [Symbol.asyncDispose]() {
      await hub.close()
      await server.close()
      await model.close()
    },
  }
}

const message = { id: 'm1', role: 'user' as const, parts: [{ type: 'text' as const, text: 'Say it' }] }

/** Collects the text of an answer, until `last` was read or the answer ends. */
async function textOf(answer: ReadableStream<UIMessageChunk> | null, last?: string): Promise<string> {
  let text = ''
  const reader = answer?.getReader()
  for (;;) {
    const next = await reader?.read()
    if (next === undefined || next.done) return text
    if (next.value.type === 'text-delta') text += next.value.delta
    if (last !== undefined && text.endsWith(last)) {
      await reader?.cancel()
      return text
    }
  }
}

describe('a chat of the AI SDK over a shared stream', () => {
  const submit = {
    chatId: '7',
    trigger: 'submit-message',
    messageId: undefined,
    messages: [message],
  } as const

  it('is resumed from its start by a page that was loaded again, and the model is asked once', async () => {
    await using chat = await serveChat()
    const sending = chat.transport.sendMessages({ ...submit, messages: [message], abortSignal: undefined })
    await chat.send(
      words
        .slice(0, 2)
        .map((word) => chunk(word))
        .join(''),
    )
    expect(await textOf(await sending, ' answer')).to.equal('An answer')
    const resumed = await chat.transport.reconnectToStream({ chatId: '7' })
    const rest = words.slice(2).map((word) => chunk(word))
    await chat.send(`${rest.join('')}${chunk('', 'stop')}data: [DONE]\n\n`, true)
    expect(await textOf(resumed)).to.equal(words.join(''))
    expect(await chat.transport.reconnectToStream({ chatId: '7' })).to.equal(null)
    expect(chat.model.requests).to.have.length(1)
  })

  it('is stopped by a request of its own, which closes the request to the model', async () => {
    await using chat = await serveChat()
    const sending = chat.transport.sendMessages({ ...submit, messages: [message], abortSignal: undefined })
    await chat.send(chunk('An'))
    const reading = textOf(await sending)
    const resumed = await chat.transport.reconnectToStream({ chatId: '7' })
    expect(await textOf(resumed, 'An')).to.equal('An')
    const stopped = await fetch(`${chat.api}/7/stream`, { method: 'DELETE' })
    expect(stopped.status).to.equal(202)
    expect(await reading).to.equal('An')
    await isLeft(chat.model)
    expect(await chat.transport.reconnectToStream({ chatId: '7' })).to.equal(null)
  })
})
