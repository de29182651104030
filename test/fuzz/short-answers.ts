import http, { type IncomingMessage } from 'node:http'
import { expect } from 'chai'
import fc from 'fast-check'
import { dialHttp } from '../../src/http/dialer.ts'
import { DirectRequests } from '../../src/http/direct-request.ts'
import { IdleSockets } from '../../src/http/idle-sockets.ts'
import { ShortAnswer } from '../../src/http/short-answer.ts'
import { codeOf, FedSocket, turn } from './fed-socket.ts'
import { type RawResponse, shortResponse } from './raw-responses.ts'

/** What has become of a request. */
interface Outcome {
  head: string
  body: string
  end: string
  trailers: string
  interim: string
  isKept: boolean
}

/** Sends a GET on an idle connection, past node:http or through it. */
async function outcomeOf(response: RawResponse, isPast: boolean): Promise<Outcome> {
  const socket = new FedSocket(isPast)
  const agent = new http.Agent({ keepAlive: true })
  const idle = new IdleSockets(agent, () => true)
  const address = { host: 'localhost', port: 80 }
  let isMade = false
  agent.createConnection = (options) => {
    if (!isMade) {
      isMade = true
      idle.add(socket, options)
      return socket
    }
    const refused = new FedSocket(false)
    setImmediate(() => refused.destroy(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })))
    return refused
  }
  const outcome: Outcome = { head: '', body: '', end: '', trailers: '', interim: '', isKept: false }
  const end = (how: string) => {
    if (outcome.end === '') outcome.end = how
  }
  const { signal, abort } = cancellable()
  const call = () => ({
    options: { ...address, agent, headers: { host: 'localhost' } },
    signal,
    onInformation: ({ statusCode, rawHeaders }: http.InformationEvent) => {
      outcome.interim += JSON.stringify([statusCode, rawHeaders])
    },
  })
  const name = agent.getName(address)
  const requests = new DirectRequests(idle, name, () => true)
  // The first request leaves an idle connection.
  const first = dialHttp(call())
  await turn()
  socket.receive(Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'))
  const empty = await first
  empty.resume()
  await turn()
  await turn()
  const direct = { path: '/', fields: new Map([['host', ['localhost']]]), signal, call }
  const answered = isPast ? requests.send(direct) : dialHttp(call())
  if (answered === undefined) throw new Error('not sent')
  let message: IncomingMessage | undefined
  answered.then(
    (answer: IncomingMessage | ShortAnswer) => {
      outcome.head = JSON.stringify([answer.statusCode, answer.statusMessage, answer.rawHeaders])
      if (answer instanceof ShortAnswer) {
        Object.assign(outcome, { body: answer.text, trailers: '[]' })
        end('end')
        return
      }
      message = answer
      // A malformed body that came with the head.
      if (answer.destroyed) end(codeOf(answer.errored))
      answer.on('data', (bytes: Buffer) => {
        outcome.body += bytes.toString('latin1')
      })
      answer.on('end', () => end('end')).on('error', (error) => end(codeOf(error)))
      answer.on('close', () => end('close'))
    },
    (error: unknown) =>
      end(`no response: ${codeOf(error instanceof Error ? (error.cause ?? error) : error)}`),
  )
  await turn()
  for (const read of response.reads) {
    if (message?.complete || outcome.end !== '') break
    socket.receive(read)
    await turn()
  }
  await turn()
  await turn()
  if (outcome.end === '' && response.end !== 'nothing') socket.receive(response.end)
  for (let n = 0; n < 3; n++) await turn()
  if (message) outcome.trailers = JSON.stringify(message.rawTrailers)
  outcome.isKept = idle.take(name) !== undefined
  abort()
  socket.destroy()
  agent.destroy()
  await turn()
  return outcome
}

function cancellable() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}

/** Requests that bypass node:http get the same answers, which end in the same way. */
export const shortAnswers = fc.asyncProperty(shortResponse, async (response) => {
  const [through, past] = [await outcomeOf(response, false), await outcomeOf(response, true)]
  const { isKept, body: ofNode, ...rest } = through
  const { isKept: isOwnKept, body: own, ...ownRest } = past
  expect(ownRest).to.deep.equal(rest)
  // Bytes that follow a response close the socket. node:http ignores some of them.
  if (response.isAlone || isOwnKept) expect(isOwnKept).to.equal(isKept)
  // When the connection breaks, node:http discards the bytes of the body that were not read yet.
  const length = rest.end === 'end' ? undefined : Math.min(own.length, ofNode.length)
  expect(own.slice(0, length)).to.equal(ofNode.slice(0, length))
})
