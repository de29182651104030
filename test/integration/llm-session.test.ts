import { once } from 'node:events'
import http, { type OutgoingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { answerOf, ask, type Client, has } from '../support/client.ts'
import { type Completion, serveCompletion, words, wordsIn } from '../support/completion.ts'
import { type Example, startExample } from '../support/example.ts'
import { dataIn, eventSource } from '../support/hub.ts'
import { until } from '../support/until.ts'

interface Answer {
  readonly status: number | undefined
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
}

/** Sends a request that is not a GET of a stream. */
async function send(
  method: string,
  url: string,
  headers: OutgoingHttpHeaders = {},
  body = '',
): Promise<Answer> {
  const length = { 'content-length': Buffer.byteLength(body) }
  const request = http.request(url, { method, agent: false, headers: { ...length, ...headers } })
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  request.end(body)
  const response = await answered
  return { status: response.statusCode, headers: response.headers, text: await text(response) }
}

/** A browser: opens the page once, and sends the cookie of its session from then on. */
interface Browser {
  request(method: string, name: string, body?: string): Promise<Answer>
  submit(name: string, prompt?: string): Promise<Answer>
  stop(name: string): Promise<Answer>
  /** Opens the answer as an EventSource does. */
  open(name: string, lastEventId?: string): Client
}

async function openBrowser(url: string): Promise<Browser> {
  const page = await answerOf(url)
  const [cookie] = page.headers['set-cookie']?.[0]?.split(';') ?? []
  const headers = { cookie }
  const at = (name: string) => `${url}/answers/${name}`
  const request = (method: string, name: string, body?: string) => send(method, at(name), headers, body)
  return {
    request,
    submit: (name, prompt = 'Hello') => request('POST', name, prompt),
    stop: (name) => request('DELETE', name),
    open: (name, lastEventId) =>
      ask(at(name), { ...headers, ...eventSource, ...(lastEventId && { 'last-event-id': lastEventId }) }),
  }
}

/** The id of the latest event that a client has received. */
const latestId = ({ text }: Client) => Array.from(text.matchAll(/^id: (.*)$/gm)).at(-1)?.[1] ?? ''

const all = (count: number) => words(1, count).join('')

describe('examples/llm-session.ts', () => {
  let completion: Completion
  let example: Example
  let browser: Browser

  before(async () => {
    completion = await serveCompletion()
    example = await startExample('llm-session.ts', completion.url)
  })

  beforeEach(async () => {
    browser = await openBrowser(example.url)
  })

  afterEach(() => completion.reset())

  after(async () => {
    await example[Symbol.asyncDispose]()
    await completion[Symbol.asyncDispose]()
  })

  it('reads on while its client is away: the client returns with its id, and has the whole text once', async () => {
    expect(await browser.submit('one', 'A prompt')).to.include({ status: 202, text: 'one' })
    const tab = browser.open('one')
    completion.say(...words(1, 10))
    await has(tab, 'word10 ')
    tab.leave()
    completion.say(...words(11, 20))
    completion.finish()
    const returned = browser.open('one', latestId(tab))
    expect(await returned.ended).to.equal('end')
    expect(wordsIn(tab.text) + wordsIn(returned.text)).to.equal(all(20))
    expect(dataIn(returned).at(-1)).to.equal('[DONE]')
    const after = browser.open('one', latestId(returned))
    await after.ended
    expect(after.status).to.equal(204)
    expect(completion.requests).to.equal(1)
  })

  it('gives a page that is reloaded in the middle the whole text once', async () => {
    await browser.submit('one')
    const tab = browser.open('one')
    completion.say(...words(1, 5))
    await has(tab, 'word5 ')
    tab.leave()
    const reloaded = browser.open('one')
    await has(reloaded, 'word5 ')
    completion.say(...words(6, 10))
    completion.finish()
    expect(await reloaded.ended).to.equal('end')
    expect(wordsIn(reloaded.text)).to.equal(all(10))
    expect(completion.requests).to.equal(1)
  })

  it('shows the same text in two tabs', async () => {
    await browser.submit('one')
    const first = browser.open('one')
    completion.say(...words(1, 5))
    await has(first, 'word5 ')
    const second = browser.open('one')
    await has(second, 'word5 ')
    completion.say(...words(6, 10))
    completion.finish()
    for (const tab of [first, second]) {
      expect(await tab.ended).to.equal('end')
      expect(wordsIn(tab.text)).to.equal(all(10))
    }
    expect(completion.requests).to.equal(1)
  })

  it('sends one request upstream for submits with the same name, also after the end', async () => {
    const submits = await Promise.all([1, 2, 3].map(() => browser.submit('one')))
    expect(submits.map(({ status }) => status)).to.deep.equal([202, 202, 202])
    completion.say(...words(1, 3))
    completion.finish()
    const tab = browser.open('one')
    expect(await tab.ended).to.equal('end')
    expect(await browser.submit('one')).to.include({ status: 202 })
    const again = browser.open('one')
    expect(await again.ended).to.equal('end')
    for (const { text } of [tab, again]) expect(wordsIn(text)).to.equal(all(3))
    expect(completion.requests).to.equal(1)
  })

  it('sends the prompt upstream, and asks again for another name', async () => {
    const bodies: Promise<string>[] = []
    const read = (request: http.IncomingMessage) => bodies.push(text(request))
    completion.server.server.prependListener('request', read)
    for (const name of ['one', 'two'])
      expect(await browser.submit(name, `Prompt “${name}”`)).to.include({ status: 202 })
    await until(
      () => bodies.length === 2,
      () => 'two requests',
    )
    completion.server.server.off('request', read)
    const sent = (await Promise.all(bodies)).map((body) => JSON.parse(body))
    expect(sent.map(({ stream, messages }) => [stream, messages[0].content])).to.have.deep.members([
      [true, 'Prompt “one”'],
      [true, 'Prompt “two”'],
    ])
  })

  it('stops at another request: the upstream is closed, and each tab has the same text and gets the end', async () => {
    await browser.submit('one')
    const tabs = [browser.open('one'), browser.open('one')]
    completion.say(...words(1, 5))
    for (const tab of tabs) await has(tab, 'word5 ')
    const request = completion.server.requests.at(-1)
    const closed = once(request?.socket ?? completion.server.server, 'close')
    expect(await browser.stop('one')).to.include({ status: 204 })
    await closed
    for (const tab of tabs) {
      expect(await tab.ended).to.equal('end')
      expect(wordsIn(tab.text)).to.equal(all(5))
      const returned = browser.open('one', latestId(tab))
      await returned.ended
      expect(returned.status).to.equal(204)
    }
    const reloaded = browser.open('one')
    expect(await reloaded.ended).to.equal('end')
    expect(wordsIn(reloaded.text)).to.equal(all(5))
    expect(await browser.stop('one')).to.include({ status: 404 })
    expect(completion.requests).to.equal(1)
  })

  it('tells its tabs when the upstream breaks off, and does not ask again', async () => {
    await browser.submit('one')
    const tab = browser.open('one')
    completion.say(...words(1, 5))
    await has(tab, 'word5 ')
    completion.cut()
    expect(await tab.ended).to.equal('end')
    const reloaded = browser.open('one')
    expect(await reloaded.ended).to.equal('end')
    for (const client of [tab, reloaded]) {
      expect(wordsIn(client.text)).to.equal(all(5))
      expect(dataIn(client).at(-1)).to.match(/^\{"error":\{"message":"/)
    }
    expect(completion.requests).to.equal(1)
  })

  it('keeps an answer of more events than a log keeps by default', async () => {
    await browser.submit('one')
    completion.say(...words(1, 20_000))
    completion.finish()
    const tab = browser.open('one')
    expect(await tab.ended).to.equal('end')
    const late = browser.open('one')
    expect(await late.ended).to.equal('end')
    expect(wordsIn(late.text)).to.equal(all(20_000))
  })

  it('shows no answer to another session, and lets no other session stop it', async () => {
    await browser.submit('one')
    const tab = browser.open('one')
    completion.say(...words(1, 2))
    await has(tab, 'word2 ')
    const other = await openBrowser(example.url)
    const foreign = other.open('one', latestId(tab))
    await foreign.ended
    expect(foreign.status).to.equal(410)
    expect(await other.stop('one')).to.include({ status: 404 })
    const at = `${example.url}/answers/one`
    expect(await answerOf(at, eventSource)).to.include({ status: 401 })
    for (const method of ['POST', 'DELETE']) expect(await send(method, at)).to.include({ status: 401 })
    completion.finish()
    expect(await tab.ended).to.equal('end')
    expect(wordsIn(tab.text)).to.equal(all(2))
    expect(completion.requests).to.equal(1)
  })

  it('keeps the session of a page that is opened again', async () => {
    const { headers } = await answerOf(example.url)
    const [cookie = ''] = headers['set-cookie']?.[0]?.split(';') ?? []
    expect(cookie).to.match(/^session=[\w-]{36}$/)
    const again = await answerOf(example.url, { cookie: `theme=dark; ${cookie}` })
    expect(again.headers['set-cookie']?.[0]).to.match(new RegExp(`^${cookie};.*HttpOnly; SameSite=Lax`))
  })

  it('refuses what it does not have: 404, 405, 410 and 413, without a request upstream', async () => {
    const unknown = browser.open('unknown')
    await unknown.ended
    expect(unknown.status).to.equal(404)
    expect(await browser.submit('not.a.name')).to.include({ status: 404 })
    expect(await browser.request('PUT', 'one')).to.include({ status: 405 })
    expect(await browser.submit('one', 'x'.repeat(10_001))).to.include({ status: 413 })
    expect(completion.requests).to.equal(0)
    await browser.submit('one')
    completion.say(...words(1, 2))
    completion.finish()
    expect(await browser.open('one').ended).to.equal('end')
    const stranger = browser.open('one', '1795710055795-3')
    await stranger.ended
    expect(stranger.status).to.equal(410)
    expect(completion.requests).to.equal(1)
  })
})

describe('examples/llm-session.ts without an upstream', () => {
  it('starts one of its own, which answers one word after another', async () => {
    await using example = await startExample('llm-session.ts')
    const browser = await openBrowser(example.url)
    expect(await browser.submit('one')).to.include({ status: 202 })
    using tab = browser.open('one')
    await has(tab, 'word ')
    expect(wordsIn(tab.text)).to.equal('This answer arrives one word ')
  })
})
