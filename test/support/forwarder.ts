import net, { type Socket } from 'node:net'

/** Passes connections on to another port, so that a test can break them while both ends live. */
export interface Forwarder extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** Everything that clients have sent, as Latin-1. */
  readonly sent: string
  /** Destroys all connections. */
  cut(): void
}

export async function forwardTo(target: number): Promise<Forwarder> {
  const sockets = new Set<Socket>()
  let sent = ''
  const track = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    return socket
  }
  const server = net.createServer((client) => {
    const onward = track(net.connect(target, '127.0.0.1'))
    track(client).on('close', () => onward.destroy())
    client.on('data', (bytes) => {
      sent += bytes.toString('latin1')
    })
    onward.on('close', () => client.destroy())
    client.pipe(onward).pipe(client)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}`,
    get sent() {
      return sent
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}
