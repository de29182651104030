import http, { type ClientRequest, type IncomingMessage, type InformationEvent } from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { reasonOf, SseError } from '../errors.ts'
import { breakWithRequest } from './cut.ts'

/** One request of node:http or node:https; `protocol` says of which. */
export interface Call extends Omit<https.RequestOptions, 'signal' | 'headers'> {
  /** An array is a field that is sent in several lines. */
  readonly headers: http.OutgoingHttpHeaders
  /**
   * The body: bytes, which can be sent again, or a function that writes it into the request and ends it. Default: none.
   */
  readonly body?: string | Uint8Array | ((request: ClientRequest) => void) | undefined
  /** Ends the request, and its response. */
  readonly signal: AbortSignal
  /** Called for each interim response (RFC 9110, 15.2), such as a 103. */
  readonly onInformation?: ((information: InformationEvent) => void) | undefined
}

/**
 * Sends a request and waits for the head of its response.
 *
 * A connection that was kept alive may have been closed meanwhile, which the client finds out when it uses it (RFC
 * 9112, 9.3.1). Such a failure costs a request that may be repeated one redial, and no second one: "a client SHOULD NOT
 * automatically retry a failed automatic retry" (RFC 9110, 9.2.2). The redial makes a connection of its own, because
 * idle connections that are in the pool since the same time have often been closed at the same time.
 *
 * @returns The response; a final one, not a 101.
 * @throws {@link SseError} `ERR_SSE_CONNECT` when there is none. Its `sent` is false when no connection came about
 * (refused, unknown host, failed TLS handshake, timeout), and when the connection had been kept alive and the method is
 * idempotent; then the request may be sent again.
 * @throws The reason of the signal when that is aborted.
 * @throws What node:http throws for options and header fields that it cannot send.
 */
export async function dialHttp(call: Call): Promise<IncomingMessage> {
  call.signal.throwIfAborted()
  return answerTo(call, open(call, call.agent), redial)
}

/** The methods that RFC 9110, 9.2.2, calls idempotent: to send them twice has the effect of sending them once. */
const idempotentMethods = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']

/** Whether a request with this method may be sent again when it is not known whether it was processed. */
export function isIdempotent(method: string): boolean {
  return idempotentMethods.includes(method.toUpperCase())
}

function open({ body: _, onInformation: __, ...options }: Call, agent: Call['agent']): ClientRequest {
  const { request } = clientOf(options)
  // Not the signal: node's own listener costs more, and makes an AbortError of every reason.
  return request({ ...options, agent, signal: undefined })
}

function clientOf({ protocol }: https.RequestOptions): typeof http | typeof https {
  return protocol === 'https:' ? https : http
}

/** @param again - Repeats the request; absent for one that is a repetition. */
function answerTo(
  call: Call,
  request: ClientRequest,
  again?: (call: Call) => Promise<IncomingMessage>,
): Promise<IncomingMessage> {
  const { signal, body, onInformation } = call
  const contact = new Contact(request)
  return new Promise((resolve, reject) => {
    let settled = false
    const fail = (cause: Error) => {
      if (settled) return
      settled = true
      const idempotent = isIdempotent(request.method)
      const closedIdle = contact.wasClosedIdle(cause)
      if (closedIdle && idempotent && typeof body !== 'function' && again) resolve(again(call))
      else reject(connectError(cause, contact.connected && !(closedIdle && idempotent)))
    }
    const onAbort = () => {
      settled = true
      reject(signal.reason)
      destroy(request)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    if (onInformation) request.on('information', onInformation)
    const onSwitch = ({ socket }: IncomingMessage) => {
      fail(new Error('the upstream changed protocols unasked'))
      socket.destroy()
    }
    request.on('upgrade', onSwitch)
    request.on('response', (response) => {
      // What node takes for no upgrade, as the response names no protocol.
      if (response.statusCode === 101) {
        onSwitch(response)
        return
      }
      settled = true
      breakWithRequest(response)
      resolve(response)
    })
    request.on('error', fail)
    request.on('close', () => {
      signal.removeEventListener('abort', onAbort)
      if (!settled) fail(new Error('the connection closed without a response'))
    })
    if (typeof body === 'function') body(request)
    else request.end(body)
  })
}

async function redial(call: Call): Promise<IncomingMessage> {
  const { agent = clientOf(call).globalAgent } = call
  const single = agent instanceof http.Agent ? singleOf(agent, clientOf(call)) : agent
  return answerTo(call, open(call, single))
}

/**
 * An agent with an empty pool and without a queue, whose connections are made by the given one: with its options, those
 * of TLS among them, in its way, and into its own pool, which they join after the response. `agent.destroy()` closes
 * them too.
 *
 * They may be more than `maxSockets`, by one for each redial: the request has had its turn, and a place for it may be a
 * long time coming, as event streams hold theirs. The given agent closes after the response what it has too many of.
 *
 * It is `createSocket` that makes a connection and counts it. Node does not document the method, but packages that stand
 * behind most agents for proxies (agent-base) replace it, and have no useful `createConnection`.
 */
function singleOf(agent: http.Agent, { Agent }: typeof http | typeof https): http.Agent {
  const createSocket: unknown = Reflect.get(agent, 'createSocket')
  if (typeof createSocket !== 'function') return agent
  // The options are looked at also where the head is written.
  const options = 'options' in agent && typeof agent.options === 'object' ? agent.options : {}
  return Object.assign(new Agent({ ...options }), {
    createSocket: (...args: unknown[]) => {
      Reflect.apply(createSocket, agent, args)
    },
  })
}

/** Ends a request, and the connection that it has or is about to get. */
function destroy(request: ClientRequest): void {
  if (request.socket) {
    request.destroy()
    return
  }
  // Node gives a request its connection a tick after it was made, and puts it into the pool when the request is no
  // more, also while it is connecting. A request that waits in a queue has none to close in the next tick either.
  const end = () => request.destroy()
  request.once('socket', end)
  process.nextTick(end)
}

/** Connections that have carried a request: node does not tell for one that goes on to a request in the queue. */
const used = new WeakSet<Duplex>()

/** Errors of a connection that the other side had closed; the last one is what Windows says. */
const closedCodes = ['ECONNRESET', 'EPIPE', 'ECONNABORTED']

/** What is known of the connection of a request. */
class Contact {
  /** Whether a connection came about, so that the request may have been read. */
  connected = false
  #reused = false
  /** How many bytes have come in since the request has the connection. */
  #received = () => 0

  constructor(request: ClientRequest) {
    request.once('socket', (socket) => {
      const { bytesRead } = socket
      this.#received = () => socket.bytesRead - bytesRead
      this.#reused = request.reusedSocket || used.has(socket)
      used.add(socket)
      // Closed before anything could be written: an address without a route, a lookup that failed at once.
      if (socket.destroyed) return
      const event = openingEventOf(socket)
      if (event === undefined) this.connected = true
      else {
        socket.once(event, () => {
          this.connected = true
        })
      }
    })
  }

  /** Whether the connection had been kept alive, and broke off without a byte of a response. */
  wasClosedIdle(cause: Error): boolean {
    const isClose = 'code' in cause && closedCodes.some((code) => code === cause.code)
    return this.#reused && isClose && this.#received() === 0
  }
}

/** The event with which a connection opens; none where it is open. */
function openingEventOf(socket: Duplex): 'connect' | 'secureConnect' | undefined {
  if ('secureConnecting' in socket && socket.secureConnecting === true) return 'secureConnect'
  return 'connecting' in socket && socket.connecting === true ? 'connect' : undefined
}

function connectError(cause: Error, sent: boolean): SseError {
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${reasonOf(cause)}`, {
    cause,
    sent,
  })
}
