import { Socket } from 'node:net'
import { DirectSocket } from '../../src/http/direct-socket.ts'

/** A socket without a connection. It is read as Node reads sockets, or by a {@link DirectSocket}. */
export class FedSocket extends Socket {
  readonly #reader: DirectSocket | undefined
  #queue: (() => void)[] = []
  #isReading = true
  #received = 0

  constructor(isDirect: boolean) {
    super()
    if (isDirect) this.#reader = new DirectSocket(this)
    Object.defineProperty(this, 'bytesRead', { get: () => this.#received })
  }

  /** What the kernel has for the socket: bytes, the end, or an error. */
  receive(bytes: Buffer | 'FIN' | 'reset'): void {
    this.#queue.push(() => {
      if (typeof bytes !== 'string') this.#received += bytes.length
      if (bytes === 'FIN') this.push(null)
      else if (bytes === 'reset') this.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' }))
      else if (this.#reader) {
        const lent = Buffer.from(bytes)
        this.#reader.read(lent)
        lent.fill('?')
      } else this.push(Buffer.from(bytes))
    })
    this.#deliver()
  }

  override pause(): this {
    this.#isReading = false
    return super.pause()
  }

  override resume(): this {
    this.#isReading = true
    process.nextTick(() => this.#deliver())
    return super.resume()
  }

  #deliver(): void {
    while (this.#isReading && !this.destroyed) {
      const next = this.#queue.shift()
      if (next === undefined) return
      next()
    }
  }

  override _read(): void {}

  override _write(_: unknown, __: BufferEncoding, callback: (error?: Error | null) => void): void {
    callback()
  }

  override _writev(_: unknown, callback: (error?: Error | null) => void): void {
    callback()
  }
}

export const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** The code of an error of Node, or the message of another. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error ? String(error.code) : error.message
}
