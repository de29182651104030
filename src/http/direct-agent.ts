import http, { type ClientRequestArgs } from 'node:http'
import https from 'node:https'
import { Socket } from 'node:net'
import { DirectRequests } from './direct-request.ts'
import { DirectSocket } from './direct-socket.ts'
import { areIdleSocketsProven, startIdleCheck } from './idle-check.ts'
import { IdleSockets } from './idle-sockets.ts'
import { startReaderCheck } from './reader-check.ts'
import { areRequestsProven, startRequestCheck } from './request-check.ts'

/**
 * What all connections read into. Node allocates 64 KiB for each read otherwise, garbage outside the heap of V8, which answers such
 * garbage with collections of the whole heap.
 */
const buffer = Buffer.allocUnsafeSlow(65_536)

/**
 * Makes an agent with keep-alive for one protocol.
 *
 * @param fastPath - Whether bodies and short answers may bypass node:http, and this package may keep idle connections; see
 * {@link DirectSocket}, {@link DirectRequests} and {@link IdleSockets}.
 */
export function makeAgent(protocol: string, fastPath: boolean): http.Agent {
  const { Agent } = protocol === 'https:' ? https : http
  const agent = new Agent({ keepAlive: true })
  if (fastPath) readDirectly(agent)
  return agent
}

/** What keeps the idle connections of an agent. */
const idleOf = new WeakMap<http.Agent, IdleSockets>()

/** What sends requests to a host past node:http; undefined for an agent that {@link makeAgent} has not made for that. */
export function directRequestsTo(agent: http.Agent, address: ClientRequestArgs): DirectRequests | undefined {
  const idle = idleOf.get(agent)
  if (!idle) return undefined
  startRequestCheck()
  const { hostname, port } = address
  // The defaults are those of node:http.
  const name = agent.getName({ host: hostname ?? 'localhost', port: port ?? 80 })
  return new DirectRequests(idle, name, areRequestsProven)
}

/** Makes an agent's connections pass what they read to a {@link DirectSocket}, by the option `onread` of node:net and node:tls. */
function readDirectly(agent: http.Agent): void {
  startReaderCheck()
  const idle = idleSocketsOf(agent)
  const createConnection = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    let reader: DirectSocket | undefined
    const onread = {
      buffer,
      callback(size: number) {
        reader?.read(buffer.subarray(0, size))
        return true
      },
    }
    const withReader = { ...options, onread }
    const socket = createConnection(withReader, callback)
    if (socket instanceof Socket) {
      reader = new DirectSocket(socket)
      idle?.add(socket, options)
    }
    return socket
  }
}

/** Not for TLS: which connection a request may have depends on many options, and node:http looks at them. */
function idleSocketsOf(agent: http.Agent): IdleSockets | undefined {
  if (agent instanceof https.Agent) return undefined
  startIdleCheck()
  const idle = new IdleSockets(agent, areIdleSocketsProven)
  idleOf.set(agent, idle)
  return idle
}
