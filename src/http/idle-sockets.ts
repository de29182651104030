import http, { type ClientRequest, type ClientRequestArgs } from 'node:http'
import type { Socket } from 'node:net'
import { directSocketOf } from './direct-socket.ts'
import { linesOf } from './fields.ts'

/** As many as node:http keeps for one host. */
const mostIdle = 256

/** How long before the time that a server announces a connection is no longer used, in milliseconds, as with node:http. */
const margin = 1000

/** The longest time limit of a socket in milliseconds. A longer one is an error. */
const longestTimer = 2 ** 31 - 1

/** Names the option with the connection on which a request's head has been sent. */
export const adopted = Symbol('adopted')

/** The options of a request, as far as they decide which connection it may have. */
interface SocketOptions extends ClientRequestArgs {
  readonly highWaterMark?: number | undefined
  readonly [adopted]?: Socket | undefined
}

/**
 * Keeps an agent's idle connections in place of node:http. An answer of 1 KB costs a proxy a tenth less: node:http copies the options of
 * each request, makes the name of its host three times, and moves the connection between lists.
 *
 * What Node does not document: an agent gets each request by `addRequest`, and emits `free` with a connection that a request has
 * left, which is its `_httpMessage`; a request takes a connection by `onSocket`, writes its head by the connection's `write`, and emits
 * `finish` after the callback; options keep symbols; and a connection's handle changes to the asynchronous context of its next request by
 * `asyncReset`.
 */
export class IdleSockets {
  readonly #agent: http.Agent
  readonly #isProven: () => boolean
  /** By the name of their host, the latest one last. */
  readonly #idle = new Map<string, Socket[]>()
  readonly #names = new WeakMap<Socket, string>()

  /** @param isProven - Whether connections can be kept so on this version of Node; node:http keeps them otherwise. */
  constructor(agent: http.Agent, isProven: () => boolean) {
    this.#agent = agent
    this.#isProven = isProven
    const addRequest: unknown = Reflect.get(agent, 'addRequest')
    const [onFree, ...others] = agent.listeners('free')
    if (typeof addRequest !== 'function' || onFree === undefined || others.length > 0) return
    agent.removeAllListeners('free')
    agent.on('free', (socket: Socket, options: unknown) => {
      if (!this.#isProven() || !this.#names.has(socket)) Reflect.apply(onFree, agent, [socket, options])
      else if (!this.#keepAfterRequest(socket)) socket.destroy()
    })
    Object.assign(agent, {
      addRequest: (request: ClientRequest, options: SocketOptions, ...rest: unknown[]) => {
        const { [adopted]: given } = options
        if (given) dropHead(given, request)
        const socket = given ?? (isPlain(request, options) ? this.take(agent.getName(options)) : undefined)
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
    socket.on('close', () => {
      this.#remove(socket)
      directSocketOf(socket)?.close()
    })
  }

  #keepAfterRequest(socket: Socket): boolean {
    const request: unknown = Reflect.get(socket, '_httpMessage')
    if (!(request instanceof http.ClientRequest)) return false
    const response: unknown = Reflect.get(request, 'res')
    // Not its `headers`: node:http makes this object when it is first read.
    const isKept = this.keep(socket, response instanceof http.IncomingMessage ? response.rawHeaders : [])
    if (isKept) Reflect.set(socket, '_httpMessage', null)
    return isKept
  }

  /**
   * Keeps a connection that a request has left.
   *
   * @param rawHeaders - Those of the answer, names and values alternately.
   * @returns False for a connection that must not be used again.
   */
  keep(socket: Socket, rawHeaders: readonly string[]): boolean {
    const name = this.#names.get(socket)
    if (name === undefined || !socket.writable) return false
    const idle = this.#idle.get(name) ?? []
    const time = idleTimeOf(rawHeaders)
    if (idle.length >= mostIdle || (time !== undefined && time <= 0)) return false
    if (socket.timeout !== time) socket.setTimeout(time ?? 0)
    socket.unref()
    idle.push(socket)
    this.#idle.set(name, idle)
    return true
  }

  /** @returns The latest idle connection to a host. It is the caller's from now on, and its events have the caller's context. */
  take(name: string): Socket | undefined {
    const idle = this.#idle.get(name)
    let socket = idle?.pop()
    while (socket && !socket.writable) socket = idle?.pop()
    if (idle?.length === 0) this.#idle.delete(name)
    if (socket) changeContext(socket.ref())
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

function changeContext(socket: Socket): void {
  const handle: unknown = Reflect.get(socket, '_handle')
  if (typeof handle === 'object' && handle !== null && 'asyncReset' in handle) {
    const { asyncReset } = handle
    if (typeof asyncReset === 'function') Reflect.apply(asyncReset, handle, [{}])
  }
}

function reuse(socket: Socket, request: ClientRequest): void {
  request.reusedSocket = true
  request.onSocket(socket)
}

/** Drops what a request writes: its head, which has been sent. */
function dropHead(socket: Socket, request: ClientRequest): void {
  // A monitor may have given the connection a function of its own.
  const own = Object.getOwnPropertyDescriptor(socket, 'write')
  const drop = (...args: unknown[]) => {
    const onWritten = args.at(-1)
    if (typeof onWritten === 'function') process.nextTick(() => Reflect.apply(onWritten, undefined, []))
    return true
  }
  Object.assign(socket, { write: drop })
  request.once('finish', () => {
    if (own) Object.defineProperty(socket, 'write', own)
    else Reflect.deleteProperty(socket, 'write')
  })
}

/** How long a connection may be idle, in milliseconds; undefined when its server has announced no limit. */
function idleTimeOf(rawHeaders: readonly string[]): number | undefined {
  const [hint = ''] = linesOf(rawHeaders, 'keep-alive')
  const [, seconds] = /^timeout=(\d+)/.exec(hint) ?? []
  return seconds === undefined ? undefined : Math.min(Number(seconds) * 1000 - margin, longestTimer)
}
