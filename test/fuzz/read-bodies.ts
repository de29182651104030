import http, { type IncomingMessage } from 'node:http'
import { expect } from 'chai'
import fc from 'fast-check'
import { dialHttp } from '../../src/http/dialer.ts'
import { IdleSockets } from '../../src/http/idle-sockets.ts'
import { startReaderCheck } from '../../src/http/reader-check.ts'
import { Connection } from '../../src/upstream/connection.ts'
import { isOpen } from '../../src/upstream/refusal.ts'
import { openUpstream } from '../../src/upstream/shapes.ts'
import { idleCountOf } from '../support/dialling.ts'
import { codeOf, FedSocket, turn } from './fed-socket.ts'
import { type RawResponse, rawResponse } from './raw-responses.ts'

/** What has become of a request. */
interface Outcome {
  head: string
  body: string
  end: string
  trailers: string
  isKept: boolean
}

interface Case {
  readonly response: RawResponse
  /** Whether the body is read in the usual way. */
  readonly isUsual: boolean
  /** Before which reads the reader pauses, and before which it resumes. */
  readonly pauses: readonly number[]
}

async function outcomeOf({ response, isUsual, pauses }: Case, isDirect: boolean): Promise<Outcome> {
  const socket = new FedSocket(isDirect)
  const agent = new http.Agent({ keepAlive: true })
  const idle = isDirect ? new IdleSockets(agent, () => true) : undefined
  agent.createConnection = (options) => {
    idle?.add(socket, options)
    return socket
  }
  const outcome: Outcome = { head: '', body: '', end: '', trailers: '', isKept: false }
  const end = (how: string) => {
    if (outcome.end === '') outcome.end = how
  }
  const controller = new AbortController()
  let message: IncomingMessage | undefined
  let pausable: { pause(): unknown; resume(): unknown } | undefined
  const { method, isLenient: insecureHTTPParser } = response
  dialHttp({ options: { agent, method, headers: {}, insecureHTTPParser }, signal: controller.signal }).then(
    (answer) => {
      message = answer
      outcome.head = JSON.stringify([answer.statusCode, answer.rawHeaders])
      const opened = openUpstream(answer)
      if (isUsual || !isOpen(opened) || opened.encodings.length > 0) {
        pausable = answer
        answer.on('data', (bytes: Buffer) => {
          outcome.body += bytes.toString('latin1')
        })
        answer.on('end', () => end('end'))
        answer.on('error', (error) => end(codeOf(error)))
        answer.on('close', () => end('close'))
      } else {
        const connection = new Connection(opened, 0, isDirect)
        pausable = connection
        connection.read({
          onChunk(bytes) {
            outcome.body += bytes.toString('latin1')
          },
          onDrop: ({ reason, error }) => end(reason === 'end' ? 'end' : codeOf(error.cause)),
          onFault: (error) => end(error.message),
        })
      }
    },
    (error: unknown) =>
      end(`no response: ${codeOf(error instanceof Error ? (error.cause ?? error) : error)}`),
  )
  await turn()
  for (const [n, read] of response.reads.entries()) {
    if (message?.complete || outcome.end !== '') break
    if (pauses.includes(2 * n)) pausable?.pause()
    if (pauses.includes(2 * n + 1)) pausable?.resume()
    socket.receive(read)
    await turn()
  }
  pausable?.resume()
  await turn()
  await turn()
  if (!message?.complete && response.end !== 'nothing') socket.receive(response.end)
  for (let n = 0; n < 3; n++) await turn()
  if (message) outcome.trailers = JSON.stringify(message.rawTrailers)
  outcome.isKept = idleCountOf(agent) > 0
  controller.abort()
  socket.destroy()
  agent.destroy()
  await turn()
  return outcome
}

async function compare(each: Case): Promise<void> {
  startReaderCheck()
  const [usual, direct] = [await outcomeOf(each, false), await outcomeOf(each, true)]
  const { body: ofNode, isKept, ...rest } = usual
  const { body: own, isKept: isOwnKept, ...ownRest } = direct
  expect(ownRest).to.deep.equal(rest)
  // Bytes that follow a response close the socket. node:http ignores some of them.
  if (each.response.isAlone || isOwnKept) expect(isOwnKept).to.equal(isKept)
  // When the connection breaks, node:http discards the bytes of the body that were not read yet.
  if (rest.end === 'end') expect(own).to.equal(ofNode)
  else expect(own.slice(0, ofNode.length)).to.equal(ofNode)
}

/** Responses that bypass node:http give the same bytes, and end in the same way. */
export const readBodies = fc.asyncProperty(
  fc.record({
    response: rawResponse,
    isUsual: fc.oneof(
      { weight: 5, arbitrary: fc.constant(false) },
      { weight: 1, arbitrary: fc.constant(true) },
    ),
    pauses: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(fc.nat(16), { maxLength: 6 })),
  }),
  compare,
)
