import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { portOf } from './server.ts'

/** Passes connections on to a server of Redis, and disturbs them as networks and fail-overs do. */
export interface RedisProxy extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** The port of the server that new connections get. */
  target: number
  /** Swallows every byte from the server. The connections are of no further use: `cut` must follow. */
  swallowsReplies: boolean
  /** Swallows the messages of channels. */
  swallowsWakes: boolean
  /** Milliseconds by which the bytes of both directions are late. */
  delay: number
  /** The number of messages of channels that were swallowed. */
  readonly lostWakes: number
  /** Changes what the server says, as Latin-1. */
  edit(reply: string): string
  /** Breaks all connections. */
  cut(): void
}

/** A message of a channel, in both versions of the protocol. */
const wake = /[*>]3\r\n\$8\r\nsmessage\r\n\$\d+\r\n[^\r]*\r\n\$\d+\r\n[^\r]*\r\n/g

export async function redisProxy(target: number): Promise<RedisProxy> {
  const sockets = new Set<Socket>()
  const timers = new Set<NodeJS.Timeout>()
  let lostWakes = 0
  const swallow = () => {
    lostWakes++
    return ''
  }
  const track = (socket: Socket, other: () => Socket) => {
    sockets.add(socket)
    socket.setNoDelay()
    socket
      .on('error', () => {})
      .on('close', () => {
        sockets.delete(socket)
        other().destroy()
      })
  }
  const later = (call: () => void) => {
    if (proxy.delay === 0) return call()
    const timer = setTimeout(() => {
      timers.delete(timer)
      call()
    }, proxy.delay)
    timers.add(timer)
  }
  const server = net.createServer((client) => {
    const redis = net.connect(proxy.target, '127.0.0.1')
    track(client, () => redis)
    track(redis, () => client)
    client.on('data', (bytes) => later(() => redis.write(bytes)))
    redis.on('data', (bytes) => {
      if (proxy.swallowsReplies) return
      const text = proxy.edit(bytes.toString('latin1'))
      const rest = proxy.swallowsWakes ? text.replace(wake, swallow) : text
      if (rest !== '') later(() => client.write(rest, 'latin1'))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = portOf(server)
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const proxy = {
    port,
    url: `redis://127.0.0.1:${port}`,
    target,
    swallowsReplies: false,
    swallowsWakes: false,
    delay: 0,
    get lostWakes() {
      return lostWakes
    },
    edit: (reply: string) => reply,
    cut,
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearTimeout(timer)
      cut()
      server.close()
      await once(server, 'close')
    },
  }
  return proxy
}
