import { channel } from 'node:diagnostics_channel'
import http, { type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { asError } from '../errors.ts'
import type { CancelSignal } from './cancellation.ts'
import { type Call, dialAgain, dialHttp, isClosedIdle, unreachable } from './dialer.ts'
import { directSocketOf } from './direct-socket.ts'
import type { FieldLines } from './fields.ts'
import { adopted, type IdleSockets } from './idle-sockets.ts'
import { type ShortAnswer, shortAnswerIn } from './short-answer.ts'

/** A GET without a body. */
export interface DirectRequest {
  readonly path: string
  readonly fields: FieldLines
  /** Destroys the connection when it is aborted. */
  readonly signal: CancelSignal
  /** The same request for node:http. */
  readonly call: () => Call
}

const { request: ownRequest, ClientRequest } = http

/** Whether the functions are node:http's own: a monitor or a mock may have replaced them before this package was loaded. */
const isOwn = Function.prototype.toString.call(ownRequest).includes('return new ClientRequest(')

const channels = [
  'http.client.request.start',
  'http.client.request.created',
  'http.client.request.error',
  'http.client.response.finish',
].map((name) => channel(name))

/** Whether something may look at each request of node:http, or change it. */
export function areRequestsObserved(): boolean {
  const isReplaced = !isOwn || http.request !== ownRequest || http.ClientRequest !== ClientRequest
  return isReplaced || channels.some(({ hasSubscribers }) => hasSubscribers)
}

/**
 * Sends requests on an agent's idle connections past node:http. A short answer that arrives as a whole bypasses node:http too: for
 * an answer of 1 KB a proxy needs about half the CPU time that it needs through node:http. For all else a request of node:http gets the
 * connection, with the bytes that have arrived.
 */
export class DirectRequests {
  readonly #idle: IdleSockets
  readonly #name: string
  readonly #isProven: () => boolean

  /**
   * @param name - The agent's name for the host.
   * @param isProven - Whether requests can be sent so on this version of Node; node:http sends them otherwise.
   */
  constructor(idle: IdleSockets, name: string, isProven: () => boolean) {
    this.#idle = idle
    this.#name = name
    this.#isProven = isProven
  }

  /**
   * Sends a request if a connection is idle, nothing observes the requests of node:http, and {@link headOf} can write the head.
   *
   * @returns A promise that rejects as that of {@link dialHttp}; undefined when node:http must send the request.
   */
  send(request: DirectRequest): Promise<IncomingMessage | ShortAnswer> | undefined {
    if (!this.#isProven() || areRequestsObserved() || request.signal.aborted) return undefined
    const head = headOf(request)
    const socket = head === undefined ? undefined : this.#idle.take(this.#name)
    const reader = directSocketOf(socket)
    if (head === undefined || !socket || !reader) return undefined
    return new Promise((resolve, reject) => {
      const { signal, call } = request
      const onAbort = () => {
        reader.expectAnswer(undefined)
        socket.destroy()
        reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort)
      reader.expectAnswer({
        onBytes: (bytes) => {
          signal.removeEventListener('abort', onAbort)
          const answer = shortAnswerIn(bytes)
          if (answer === undefined) {
            reader.putBack(bytes)
            resolve(dialHttp(withSocket(call(), socket)))
            return
          }
          if (!this.#idle.keep(socket, answer.rawHeaders)) socket.destroy()
          resolve(answer)
        },
        onClose: () => {
          signal.removeEventListener('abort', onAbort)
          const { errored } = socket
          // No byte of an answer has come. Without an error the server has ended the connection.
          if (errored === null || isClosedIdle(errored)) resolve(dialAgain(call()))
          else reject(unreachable(asError(errored), true))
        },
      })
      socket.write(head, 'latin1')
    })
  }
}

function withSocket(call: Call, socket: Socket): Call {
  return { ...call, options: { ...call.options, [adopted]: socket } }
}

const token = /^[!#$%&'*+.^_`|~\w-]+$/
const notInValue = /[^\t -~\x80-\xff]/

/** The head as node:http writes it; undefined for one that it refuses or writes in another way. */
function headOf({ path, fields }: DirectRequest): string | undefined {
  if (!/^\/[!-\xff]*$/.test(path)) return undefined
  let head = `GET ${path} HTTP/1.1\r\n`
  for (const [name, lines] of fields) {
    // node:http sends a head with `expect` at another time, joins several lines of `cookie`, and sends names of digits first.
    const isUnusual = name === 'expect' || (name === 'cookie' && lines.length > 1) || /^\d/.test(name)
    if (isUnusual || !token.test(name)) return undefined
    for (const line of lines) {
      if (notInValue.test(line)) return undefined
      head += `${name}: ${line}\r\n`
    }
  }
  return `${head}Connection: keep-alive\r\n\r\n`
}
