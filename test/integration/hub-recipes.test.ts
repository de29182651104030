import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { getRequestListener } from '@hono/node-server'
import { expect } from 'chai'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import {
  createSseHub,
  httpUpstream,
  type SharedStreamOptions,
  type SseHub,
  type UpstreamFactory,
} from '../../src/index.ts'
import { answerOf, ask, has } from '../support/client.ts'
import { wire } from '../support/events.ts'
import { dataIn, eventSource, idOf } from '../support/hub.ts'
import { isLeft, serve, stream, type TestServer } from '../support/server.ts'

function sharedFeed(hub: SseHub, url: string) {
  const upstream = httpUpstream(url)
  const options: SharedStreamOptions = { name: 'prices', retention: { events: 50_000, age: 600_000 } }
  return (req: IncomingMessage, res: ServerResponse) => hub.relay(req, res, 'prices', upstream, options)
}

function answersOf(hub: SseHub, api: string, headers: Record<string, string>) {
  const options: SharedStreamOptions = {
    name: 'answers',
    linger: Number.POSITIVE_INFINITY,
    from: 'start',
    resume: 'before-first-event',
    isTerminal: ({ data }) => data === '[DONE]',
  }
  return {
    submit: (id: string, body: string) =>
      hub.start(`answer:${id}`, httpUpstream(api, { method: 'POST', headers, body }), options),
    read: (req: IncomingMessage, res: ServerResponse, id: string) =>
      hub.relay(req, res, `answer:${id}`, undefined, options),
    stop: (id: string) => hub.cancel(`answer:${id}`, 'stopped by its reader'),
  }
}

async function* readAnswer(url: string, signal: AbortSignal): AsyncGenerator<string> {
  let lastEventId = ''
  for (;;) {
    const headers = { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) }
    const response = await fetch(url, { headers, signal }).catch(() => undefined)
    signal.throwIfAborted()
    if (response?.status === 204) return
    if (response && !response.ok && response.status !== 503)
      throw new Error(`the answer cannot be read: ${response.status}`)
    if (response?.ok && response.body) {
      const text = response.body.pipeThrough(new TextDecoderStream())
      try {
        for await (const { id, data } of text.pipeThrough(new EventSourceParserStream())) {
          lastEventId = id ?? lastEventId
          yield data
        }
      } catch {
        // The connection broke. The next request goes on after the last event.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 500 + 500 * Math.random()))
  }
}

function resumableChat(hub: SseHub, latest: Map<string, string>) {
  const options: SharedStreamOptions = {
    name: 'chat',
    linger: Number.POSITIVE_INFINITY,
    from: 'start',
    resume: 'before-first-event',
    isTerminal: ({ data }) => data === '[DONE]',
  }
  return {
    /** POST /api/chat */
    async send(request: Request, chat: string, turn: string, answer: UpstreamFactory) {
      const stream = `chat:${chat}:${turn}`
      latest.set(chat, stream)
      return hub.respond(request, stream, answer, options)
    },
    /** GET /api/chat/:id/stream */
    async resume(request: Request, chat: string) {
      const stream = latest.get(chat)
      const isRunning = stream !== undefined && (await hub.status(stream))?.state === 'running'
      if (!isRunning) return new Response(null, { status: 204 })
      return hub.respond(request, stream, undefined, options)
    },
    /** DELETE /api/chat/:id/stream */
    async stop(chat: string) {
      const stream = latest.get(chat)
      return stream !== undefined && (await hub.cancel(stream))
    },
  }
}

/** An upstream whose first response gets what the test sends. */
async function scripted(...first: string[]) {
  let response: ServerResponse | undefined
  const bodies: string[] = []
  const server = await serve(async (req, res) => {
    bodies.push(await text(req))
    response = stream(res, ...first)
  })
  return {
    server,
    url: server.url,
    bodies,
    send: (part: string) => void response?.write(part),
    [Symbol.asyncDispose]: server.close,
  }
}

/** A server with a hub of its own. */
async function served(
  handle: (hub: SseHub) => (req: IncomingMessage, res: ServerResponse) => unknown,
): Promise<{ hub: SseHub; server: TestServer; origin: string } & AsyncDisposable> {
  const hub = createSseHub()
  const server = await serve(handle(hub))
  const close = async () => {
    await hub.close()
    await server.close()
  }
  return { hub, server, origin: new URL(server.url).origin, [Symbol.asyncDispose]: close }
}

const token = (data: string) => `data: ${data}\n\n`
const done = token('[DONE]')

describe('the recipes of shared streams', () => {
  it('a page of a shared feed gets every event, also those that it missed', async () => {
    await using upstream = await scripted(wire(1))
    await using feed = await served((hub) => sharedFeed(hub, upstream.url))
    using other = ask(feed.origin)
    const page = ask(feed.origin, eventSource)
    await has(other, 'event 1')
    // The page may have joined before or after the first event.
    upstream.send(wire(2))
    await has(page, 'event 2')
    page.leave()
    upstream.send(wire(3))
    await has(other, 'event 3')
    using again = ask(feed.origin, { ...eventSource, 'last-event-id': idOf(page, 'event 2') })
    upstream.send(wire(4))
    await has(again, 'event 4')
    expect(dataIn(again)).to.deep.equal(['event 3', 'event 4'])
    expect(upstream.server.requests).to.have.length(1)
  })

  describe('an answer that outlives its page', () => {
    /** `/answers/:id` as the recipe says. */
    const routes = (api: string) => (hub: SseHub) => {
      const answers = answersOf(hub, api, { 'content-type': 'application/json' })
      return async (req: IncomingMessage, res: ServerResponse) => {
        const id = req.url?.replace('/answers/', '') ?? ''
        if (req.method === 'GET') await answers.read(req, res, id)
        else if (req.method === 'DELETE') res.writeHead((await answers.stop(id)) ? 202 : 404).end()
        else {
          await answers.submit(id, await text(req))
          res.writeHead(202).end()
        }
      }
    }
    const statusOf = async (url: string, method: string) => {
      const response = await fetch(url, { method, ...(method === 'POST' && { body: '{"stream":true}' }) })
      await response.body?.cancel()
      return response.status
    }

    it('is asked for once by a double submit, and read by two tabs, one of which comes back', async () => {
      await using upstream = await scripted(token('a'))
      await using server = await served(routes(upstream.url))
      const url = `${server.origin}/answers/1`
      expect(await Promise.all([statusOf(url, 'POST'), statusOf(url, 'POST')])).to.deep.equal([202, 202])
      const tab = ask(url, eventSource)
      using other = ask(url, eventSource)
      await has(tab, 'data: a\n\n')
      tab.leave()
      upstream.send(token('b') + done)
      expect(await other.ended).to.equal('end')
      const lastEventId = idOf(tab, 'a')
      const again = await answerOf(url, { ...eventSource, 'last-event-id': lastEventId })
      expect(dataIn(other)).to.deep.equal(['a', 'b', '[DONE]'])
      expect(dataIn(again)).to.deep.equal(['b', '[DONE]'])
      const last = { ...eventSource, 'last-event-id': idOf(again, '\\[DONE\\]') }
      expect(await answerOf(url, last)).to.include({ status: 204 })
      expect(upstream.bodies).to.deep.equal(['{"stream":true}'])
    })

    it('is stopped by another request, for all its readers', async () => {
      await using upstream = await scripted(token('a'))
      await using server = await served(routes(upstream.url))
      const url = `${server.origin}/answers/1`
      await statusOf(url, 'POST')
      using reader = ask(url, eventSource)
      await has(reader, 'data: a\n\n')
      expect(await statusOf(url, 'DELETE')).to.equal(202)
      expect(await reader.ended).to.equal('end')
      await isLeft(upstream.server)
      expect(await answerOf(url, { ...eventSource, 'last-event-id': idOf(reader, 'a') })).to.include({
        status: 204,
      })
      expect(await statusOf(url, 'DELETE')).to.equal(404)
    })

    it('is unknown before it was submitted', async () => {
      await using server = await served(routes('http://127.0.0.1:1'))
      expect(await answerOf(`${server.origin}/answers/1`, eventSource)).to.include({ status: 404 })
    })

    it('is read by fetch to its end, over connections that break', async () => {
      await using upstream = await scripted(token('a'))
      await using server = await served(routes(upstream.url))
      const url = `${server.origin}/answers/1`
      await statusOf(url, 'POST')
      const seen: string[] = []
      for await (const data of readAnswer(url, new AbortController().signal)) {
        seen.push(data)
        if (data === 'a') {
          server.server.server.closeAllConnections()
          upstream.send(token('b') + done)
        }
      }
      expect(seen).to.deep.equal(['a', 'b', '[DONE]'])
    })

    it('cannot be read by fetch when it is unknown, nor after an abort', async () => {
      await using server = await served(routes('http://127.0.0.1:1'))
      const url = `${server.origin}/answers/1`
      const errorOf = async (signal: AbortSignal) =>
        readAnswer(url, signal)
          .next()
          .catch((error: unknown) => String(error))
      expect(await errorOf(new AbortController().signal)).to.equal('Error: the answer cannot be read: 404')
      expect(await errorOf(AbortSignal.abort(new Error('left')))).to.equal('Error: left')
    })
  })

  describe('a chat of the AI SDK', () => {
    /** The routes of `DefaultChatTransport`, as the recipe says. */
    const routes = (api: string) => (hub: SseHub) => {
      const chat = resumableChat(hub, new Map())
      const answer = async (request: Request) => {
        const [, , , id = '', turn = ''] = new URL(request.url).pathname.split('/')
        if (request.method === 'POST') return chat.send(request, id, turn, httpUpstream(api))
        if (request.method === 'GET') return chat.resume(request, id)
        return new Response(null, { status: (await chat.stop(id)) ? 202 : 404 })
      }
      // Other tests compare responses with the platform's class, which the package would replace.
      return getRequestListener(answer, { overrideGlobalObjects: false })
    }

    it('gives a page that is loaded again the whole answer, and 204 when none is running', async () => {
      await using upstream = await scripted(token('a'))
      await using server = await served(routes(upstream.url))
      const resume = `${server.origin}/api/chat/7/stream`
      expect(await answerOf(resume)).to.include({ status: 204 })
      const page = new AbortController()
      const sent = { method: 'POST', signal: page.signal }
      const first = await fetch(`${server.origin}/api/chat/7/1`, sent)
      const reader = first.body?.getReader()
      expect(new TextDecoder().decode((await reader?.read())?.value)).to.include('data: a\n\n')
      page.abort()
      using again = ask(resume)
      await has(again, 'data: a\n\n')
      upstream.send(token('b') + done)
      expect(await again.ended).to.equal('end')
      expect(dataIn(again)).to.deep.equal(['a', 'b', '[DONE]'])
      expect(await answerOf(resume)).to.include({ status: 204 })
      // The same turn, sent twice.
      const repeated = await fetch(`${server.origin}/api/chat/7/1`, { method: 'POST' })
      expect(dataIn({ text: await repeated.text() })).to.deep.equal(['a', 'b', '[DONE]'])
      expect(upstream.server.requests).to.have.length(1)
    })

    it('is stopped by a request of its own', async () => {
      await using upstream = await scripted(token('a'))
      await using server = await served(routes(upstream.url))
      const page = await fetch(`${server.origin}/api/chat/7/1`, { method: 'POST' })
      const stop = async () =>
        (await fetch(`${server.origin}/api/chat/7/stream`, { method: 'DELETE' })).status
      expect(await stop()).to.equal(202)
      expect(dataIn({ text: await page.text() })).to.deep.equal(['a'])
      await isLeft(upstream.server)
      expect(await stop()).to.equal(404)
      expect(await answerOf(`${server.origin}/api/chat/7/stream`)).to.include({ status: 204 })
    })
  })
})
