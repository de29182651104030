import http, { type ClientRequest, type ClientRequestArgs } from 'node:http'
import type { Socket } from 'node:net'
import { linesOf } from './fields.ts'

/** As many as node:http keeps for one host. */
const mostIdle = 256

/** How long before the time that a server announces a connection is no longer used, in milliseconds, as with node:http. */
const margin = 1000

/** The options of a request, as far as they decide which connection it may have. */
interface SocketOptions extends ClientRequestArgs {
  readonly highWaterMark?: number | undefined
}

/**
 * Keeps an agent's idle connections in place of node:http. An answer of 1 KB costs a proxy a tenth less: node:http copies the options of
 * each request, makes the name of its host three times, and moves the connection between lists.
 *
 * What Node does not document: an agent gets each request by `addRequest`, and emits `free` with a connection that a request has
 * left, which is its `_httpMessage`; a request takes a connection by `onSocket`; and a connection's handle changes to the asynchronous
 * context of its next request by `asyncReset`.
 */
export class IdleSockets {
  readonly #agent: http.Agent
  readonly #isProven: () => boolean
  /** By the name of their host, the latest one last. */
  readonly #idle = new Map<string, Socket[]>()
  readonly #names = new WeakMap<Socket, string>()

  /** @param isProven - Whether it works on this version of Node; node:http keeps the connections otherwise. */
  constructor(agent: http.Agent, isProven: () => boolean) {
    this.#agent = agent
    this.#isProven = isProven
    const addRequest: unknown = Reflect.get(agent, 'addRequest')
    const [onFree, ...others] = agent.listeners('free')
    if (typeof addRequest !== 'function' || onFree === undefined || others.length > 0) return
    agent.removeAllListeners('free')
    agent.on('free', (socket: Socket, options: unknown) => {
      if (!this.#isProven() || !this.#names.has(socket)) Reflect.apply(onFree, agent, [socket, options])
      else if (!this.#keep(socket)) socket.destroy()
    })
    Object.assign(agent, {
      addRequest: (request: ClientRequest, options: SocketOptions, ...rest: unknown[]) => {
        const socket = isPlain(request, options) ? this.#take(agent.getName(options)) : undefined
        if (socket === undefined) Reflect.apply(addRequest, agent, [request, options, ...rest])
        else reuse(socket, request)
      },
    })
  }

  /** To be called for each connection that the agent makes. */
  add(socket: Socket, options: ClientRequestArgs): void {
    this.#names.set(socket, this.#agent.getName(options))
    socket.on('error', ignore)
    socket.on('timeout', () => this.#remove(socket) && socket.destroy())
    socket.on('close', () => this.#remove(socket))
  }

  /** @returns False for a connection that must not be used again. */
  #keep(socket: Socket): boolean {
    const request: unknown = Reflect.get(socket, '_httpMessage')
    const name = this.#names.get(socket)
    if (!(request instanceof http.ClientRequest) || name === undefined || !socket.writable) return false
    const idle = this.#idle.get(name) ?? []
    const time = idleTimeOf(request)
    if (idle.length >= mostIdle || (time !== undefined && time <= 0)) return false
    Reflect.set(socket, '_httpMessage', null)
    if (socket.timeout !== time) socket.setTimeout(time ?? 0)
    socket.unref()
    idle.push(socket)
    this.#idle.set(name, idle)
    return true
  }

  #take(name: string): Socket | undefined {
    const idle = this.#idle.get(name)
    let socket = idle?.pop()
    while (socket && !socket.writable) socket = idle?.pop()
    if (idle?.length === 0) this.#idle.delete(name)
    return socket
  }

  /** @returns Whether the connection was idle. */
  #remove(socket: Socket): boolean {
    const name = this.#names.get(socket) ?? ''
    const idle = this.#idle.get(name)
    const index = idle?.indexOf(socket) ?? -1
    if (idle === undefined || index === -1) return false
    idle.splice(index, 1)
    if (idle.length === 0) this.#idle.delete(name)
    return true
  }
}

function ignore(): void {}

/** Whether a request has no options of its own for its connection. */
function isPlain(request: ClientRequest, options: SocketOptions): boolean {
  return Reflect.get(request, 'timeout') === undefined && options.highWaterMark === undefined
}

function reuse(socket: Socket, request: ClientRequest): void {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle === 'object' && handle !== null && 'asyncReset' in handle) {
    const { asyncReset } = handle
    if (typeof asyncReset === 'function') Reflect.apply(asyncReset, handle, [{}])
  }
  request.reusedSocket = true
  socket.ref()
  request.onSocket(socket)
}

/** How long the connection of a request may be idle, in milliseconds; undefined when its server has announced no limit. */
function idleTimeOf(request: ClientRequest): number | undefined {
  const response: unknown = Reflect.get(request, 'res')
  if (!(response instanceof http.IncomingMessage)) return undefined
  // Not of `headers`: node:http makes this object when it is first read.
  const [hint = ''] = linesOf(response.rawHeaders, 'keep-alive')
  const [, seconds] = /^timeout=(\d+)/.exec(hint) ?? []
  return seconds === undefined ? undefined : Number(seconds) * 1000 - margin
}
