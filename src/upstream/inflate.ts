import { Duplex, type Transform } from 'node:stream'
import zlib from 'node:zlib'

/**
 * Takes off the content coding `deflate`: the wrapper of zlib around deflated bytes, or the deflated bytes alone, which
 * some servers send (RFC 9110, 8.4.1.2). The first byte tells: a wrapper's low half is 8 (RFC 1950, 2.2), which no
 * encoder begins deflated bytes with.
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

  #begin(isWrapped: boolean): Transform {
    const inner = isWrapped ? zlib.createInflate() : zlib.createInflateRaw()
    inner.on('data', (bytes) => this.push(bytes) || inner.pause())
    inner.on('end', () => this.push(null))
    inner.on('error', (error) => this.destroy(error))
    return inner
  }
}
