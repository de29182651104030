import { Socket } from 'node:net'

/** A socket without a connection, which keeps what is written to it. It takes what it gets only when it is told to. */
export class MemorySocket extends Socket {
  /** What was taken: the bytes as they are when the socket takes them. */
  readonly taken: Buffer[] = []
  /** The buffers that were written, whether they are taken or not. */
  readonly written: Buffer[] = []
  /** Whether the socket takes bytes at once, as a kernel does for a client that reads. */
  isOpen = true
  #take: (() => void) | undefined

  get text(): string {
    return Buffer.concat(this.taken).toString('latin1')
  }

  /** Takes what waits, and what is written while it does. */
  open(): void {
    this.isOpen = true
    const take = this.#take
    this.#take = undefined
    take?.()
  }

  override _write(
    chunk: Buffer | string,
    encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
    this.written.push(bytes)
    const take = () => {
      this.taken.push(Buffer.from(bytes))
      callback()
    }
    if (this.isOpen) take()
    else this.#take = take
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer | string; readonly encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ) {
    const bytes = chunks.map(({ chunk, encoding }) =>
      typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk,
    )
    this.written.push(...bytes)
    const take = () => {
      this.taken.push(...bytes.map((each) => Buffer.from(each)))
      callback()
    }
    if (this.isOpen) take()
    else this.#take = take
  }
}
