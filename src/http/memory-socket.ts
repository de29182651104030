import { Socket } from 'node:net'

/** A connection to a server that does not exist: it takes every byte, and reads what is pushed. */
export class MemorySocket extends Socket {
  override _read(): void {}

  override _write(_: unknown, __: BufferEncoding, callback: (error?: Error | null) => void): void {
    callback()
  }

  override _writev(_: unknown, callback: (error?: Error | null) => void): void {
    callback()
  }
}
