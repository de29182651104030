import http, { type ClientRequest, type IncomingMessage, type InformationEvent } from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { reasonOf, SseError } from '../errors.ts'
import type { CancelSignal } from './cancellation.ts'
import { breakWithRequest } from './cut.ts'
import { directSocketOf } from './direct-socket.ts'
import { adopted } from './idle-sockets.ts'
import { isReaderProven } from './reader-check.ts'

/** The options of a request of node:http or node:https, which `protocol` selects. */
export interface CallOptions extends Omit<https.RequestOptions, 'signal' | 'headers'> {
  /** An array is sent as one field line for each value. */
  readonly headers: http.OutgoingHttpHeaders
  /** The connection on which the head of the request has been sent. */
  readonly [adopted]?: Socket
}

/** One request. */
export interface Call {
  /** The options of node:http alone: it copies them four times. */
  readonly options: CallOptions
  /**
   * The body: bytes, which can be sent again, or a function that writes it into the request and ends it. Default: none.
   */
  readonly body?: string | Uint8Array | ((request: ClientRequest) => void) | undefined
  /** Destroys the request and its response when it is aborted. */
  readonly signal: CancelSignal
  /** Called for each interim response (RFC 9110, 15.2), such as a 103. */
  readonly onInformation?: ((information: InformationEvent) => void) | undefined
}

/**
 * Sends a request and waits for the head of its response.
 *
 * The server may have closed a kept-alive connection, and the client notices this only when it uses the connection (RFC 9112,
 * 9.3.1). After such a failure a request that may be repeated is sent once more, and not a third time: "a client SHOULD NOT
 * automatically retry a failed automatic retry" (RFC 9110, 9.2.2). The redial opens a new connection, because servers often
 * close all idle connections of a pool at the same time.
 *
 * @returns The final response; never a 101.
 * @throws {@link SseError} `ERR_SSE_CONNECT` when no response arrives. Its `sent` is false when no connection was established
 * (refused, unknown host, failed TLS handshake, timeout), or when a kept-alive connection turned out to be closed and the
 * method is idempotent; then the request may be sent again.
 * @throws The reason of the signal when the signal is aborted.
 * @throws The error of node:http for options and header fields that it cannot send.
 */
export function dialHttp(call: Call): Promise<IncomingMessage> {
  if (call.signal.aborted) return Promise.reject(call.signal.reason)
  return responseTo(call, call.options, dialAgain)
}

/** As it is when this package is loaded: who replaces it later must not send a request whose head has been sent. */
const { request: ownRequest } = http

/** The idempotent methods (RFC 9110, 9.2.2): sending a request twice has the effect of sending it once. */
const idempotentMethods = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']

/** Whether a request with this method may be sent again when it is not known whether it was processed. */
export function isIdempotent(method: string): boolean {
  return idempotentMethods.includes(method.toUpperCase())
}

function clientOf({ protocol }: CallOptions): typeof http | typeof https {
  return protocol === 'https:' ? https : http
}

/** @param resend - Sends the request once more; absent when the request was already sent twice. */
function responseTo(
  call: Call,
  options: CallOptions,
  resend?: (call: Call) => Promise<IncomingMessage>,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { signal, body, onInformation } = call
    // Without the signal: Node's own listener costs more, and replaces the signal's reason with an AbortError.
    const request = options[adopted] ? ownRequest(options) : clientOf(options).request(options)
    const connection = new ConnectionState(request)
    const settle = () => {
      signal.removeEventListener('abort', onAbort)
      if (onInformation) request.off('information', onInformation)
      request.off('upgrade', onSwitch).off('response', onResponse).off('error', fail).off('close', onClose)
      // Errors may follow.
      request.on('error', ignore)
    }
    const fail = (cause: Error) => {
      settle()
      const idempotent = isIdempotent(request.method)
      const closedIdle = connection.wasClosedIdle(cause)
      if (closedIdle && idempotent && typeof body !== 'function' && resend) resolve(resend(call))
      else reject(unreachable(cause, connection.connected && !(closedIdle && idempotent)))
    }
    const onClose = () => fail(new Error('the connection closed without a response'))
    const onAbort = () => {
      settle()
      reject(signal.reason)
      destroy(request)
    }
    const onSwitch = ({ socket }: IncomingMessage) => {
      fail(new Error('the upstream changed protocols unasked'))
      socket.destroy()
    }
    const onResponse = (response: IncomingMessage) => {
      // Node emits no `upgrade` for a 101 whose response names no protocol.
      if (response.statusCode === 101) {
        onSwitch(response)
        return
      }
      settle()
      destroyOnAbort(request, signal)
      breakWithRequest(response)
      if (isReaderProven()) directSocketOf(response.socket)?.hold(response)
      resolve(response)
    }
    signal.addEventListener('abort', onAbort)
    if (onInformation) request.on('information', onInformation)
    request.on('upgrade', onSwitch).on('response', onResponse).on('error', fail).on('close', onClose)
    if (typeof body === 'function') body(request)
    else request.end(body)
  })
}

function ignore(): void {}

/**
 * Destroys a request, and so its response, when the signal is aborted. A function of its own: a response may last for days, and
 * the listeners of the attempt would keep everything that the request was made of.
 */
function destroyOnAbort(request: ClientRequest, signal: CancelSignal): void {
  // One closure for both events.
  const end = () => {
    signal.removeEventListener('abort', end)
    if (signal.aborted) request.destroy()
  }
  signal.addEventListener('abort', end)
  request.on('close', end)
}

/** Sends a request once more, on a new connection. */
export function dialAgain(call: Call): Promise<IncomingMessage> {
  const client = clientOf(call.options)
  const { agent = client.globalAgent } = call.options
  const poolless = agent instanceof http.Agent ? poollessAgent(agent, client) : agent
  return responseTo(call, { ...call.options, agent: poolless })
}

/**
 * An agent with an empty pool and without a queue, which lets the given agent create its connections. The given agent applies
 * its options, including those of TLS, and takes a connection into its own pool after the response. `agent.destroy()` closes
 * these connections too.
 *
 * Each redial may exceed `maxSockets` by one: the request has waited for its turn already, and event streams could keep it
 * waiting for a long time. After the response the given agent closes the connections over its limit.
 *
 * `createSocket` creates a connection and counts it. Node does not document the method, but agent-base, on which most proxy
 * agents build, replaces it and has no useful `createConnection`.
 */
function poollessAgent(agent: http.Agent, { Agent }: typeof http | typeof https): http.Agent {
  const createSocket: unknown = Reflect.get(agent, 'createSocket')
  if (typeof createSocket !== 'function') return agent
  // Node reads the agent's options when it writes the head, too.
  const options = 'options' in agent && typeof agent.options === 'object' ? agent.options : {}
  return Object.assign(new Agent({ ...options }), {
    createSocket: (...args: unknown[]) => {
      Reflect.apply(createSocket, agent, args)
    },
  })
}

/** Destroys a request, and the connection that it has or is about to get. */
function destroy(request: ClientRequest): void {
  if (request.socket) {
    request.destroy()
    return
  }
  // Node assigns a connection one tick after the request was created. If the request is destroyed before, the connection goes
  // into the pool, even while it is connecting. A request in the agent's queue has no connection in the next tick either.
  const end = () => request.destroy()
  request.once('socket', end)
  process.nextTick(end)
}

/** Connections that have carried a request. Node's `reusedSocket` is false when a connection passes to a request in the queue. */
const used = new WeakSet<Duplex>()

/** Error codes of a connection that the other side has closed; the last one is that of Windows. */
const closedCodes = ['ECONNRESET', 'EPIPE', 'ECONNABORTED']

/** Whether an error can be that of a connection that the other side has closed while it was idle. */
export function isClosedIdle(cause: Error): boolean {
  return 'code' in cause && closedCodes.some((code) => code === cause.code)
}

/** Observes the connection of a request. */
class ConnectionState {
  /** Whether the connection was established, so that the server may have read the request. */
  connected = false
  #reused = false
  #socket: Socket | undefined
  /** The number of bytes that the connection had received before the request got it. */
  #receivedBefore = 0

  constructor(request: ClientRequest) {
    request.once('socket', (socket) => {
      const reader = directSocketOf(socket)
      this.#socket = socket
      this.#receivedBefore = socket.bytesRead - (reader?.unreadLength ?? 0)
      reader?.expectHead()
      this.#reused = request.reusedSocket || used.has(socket)
      used.add(socket)
      // Closed before a byte could be written, for example by a lookup that failed at once.
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

  /** Whether the connection had been kept alive, and closed without a byte of a response. */
  wasClosedIdle(cause: Error): boolean {
    return this.#reused && isClosedIdle(cause) && this.#socket?.bytesRead === this.#receivedBefore
  }
}

/** The event that tells that a connection is established; undefined when it already is. */
function openingEventOf(socket: Duplex): 'connect' | 'secureConnect' | undefined {
  if ('secureConnecting' in socket && socket.secureConnecting === true) return 'secureConnect'
  return 'connecting' in socket && socket.connecting === true ? 'connect' : undefined
}

/** The error for a request that got no answer. */
export function unreachable(cause: Error, sent: boolean): SseError {
  return new SseError('ERR_SSE_CONNECT', `the upstream could not be reached: ${reasonOf(cause)}`, {
    cause,
    sent,
  })
}
