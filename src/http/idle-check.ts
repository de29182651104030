import http from 'node:http'
import debug from 'debug'
import { asError } from '../errors.ts'
import { IdleSockets } from './idle-sockets.ts'
import { MemorySocket } from './memory-socket.ts'

const expected = 'new one|used two|1'

/** Sends two requests one after the other, and tells what has happened. */
function send(onEnd: (log: string) => void): void {
  const log: string[] = []
  const agent = new http.Agent({ keepAlive: true })
  const idle = new IdleSockets(agent, () => true)
  let made = 0
  agent.createConnection = (options) => {
    made++
    const socket = new MemorySocket()
    idle.add(socket, options)
    return socket
  }
  let isOver = false
  const finish = (last: string) => {
    isOver = true
    onEnd([...log, last].join('|'))
    agent.destroy()
  }
  const ask = (body: string, onAnswer: () => void) => {
    if (isOver) return
    const request = http.request({ agent })
    request.on('error', (error) => finish(error.message))
    request.on('socket', (socket) => {
      // A test that mocks HTTP, with nock for example, gives the request a connection of its own.
      if (socket instanceof MemorySocket) {
        socket.push(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      } else {
        finish('the connection of a mock')
        request.destroy()
      }
    })
    request.on('response', (response) => {
      const state = request.reusedSocket ? 'used' : 'new'
      response.on('data', (bytes) => log.push(`${state} ${bytes}`))
    })
    request.on('close', onAnswer).end()
  }
  // The connection is free after the request has emitted `close`.
  ask('one', () => setImmediate(() => ask('two', () => finish(String(made)))))
}

let isProven: boolean | undefined
let isStarted = false

/** Whether {@link IdleSockets} works on this version of Node. Not before the check is complete, which takes a few ticks. */
export function areIdleSocketsProven(): boolean {
  return isProven === true
}

/** Runs the check once, without a connection. */
export function startIdleCheck(): void {
  if (isStarted) return
  isStarted = true
  try {
    send(settle)
  } catch (error) {
    settle(asError(error).message)
  }
}

function settle(log: string): void {
  if (isProven !== undefined) return
  isProven = log === expected
  if (isProven) return
  debug('resilient-sse:fast-path')('node:http keeps idle connections, because they were used as %j', log)
}
