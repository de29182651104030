import { Duplex, type Transform } from 'node:stream'
import zlib from 'node:zlib'

/**
 * Decodes the content coding `deflate`: deflated bytes in the zlib format, or without its header and checksum, as some servers
 * send them (RFC 9110, 8.4.1.2). The first byte decides: its low half is 8 in the zlib format (RFC 1950, 2.2), and no encoder
 * starts plain deflated bytes with an 8 there.
 */
export class Inflate extends Duplex {
  #inner: Transform | undefined

  override _write(chunk: Buffer, _: BufferEncoding, callback: (error?: Error | null) => void): void {
    const [first] = chunk
    if (first === undefined) callback()
    else {
      this.#inner ??= this.#begin((first & 0x0f) === 8)
      this.#inner.write(chunk, callback)
    }
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (this.#inner) this.#inner.end()
    else this.push(null)
    callback()
  }

  override _read(): void {
    this.#inner?.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#inner?.destroy()
    callback(error)
  }

  #begin(isZlib: boolean): Transform {
    const inner = isZlib ? zlib.createInflate() : zlib.createInflateRaw()
    inner.on('data', (bytes) => this.push(bytes) || inner.pause())
    inner.on('end', () => this.push(null))
    inner.on('error', (error) => this.destroy(error))
    return inner
  }
}
