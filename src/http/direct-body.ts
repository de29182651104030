import { IncomingMessage } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { ChunkDecoder } from './chunk-decoder.ts'
import { feed, lend } from './parser-feed.ts'

const { _read: read } = IncomingMessage.prototype

/** Reads a body. */
export interface DirectReader {
  /** @param bytes - Valid during the call only. */
  onBytes(bytes: Buffer): void
}

/** How a body ends: with its last chunk, with its connection, or after so many bytes. */
export type Framing = 'chunked' | 'close' | number

/** Memory for the first part of a body that came with its head, until the body is read: as a rule in the same turn. */
let spare: Buffer | undefined
const spareSize = 65_536

/** Shorter parts are copied into memory of their own. */
const shortPart = 4096

/**
 * The body of a response. It is held back until it is read. A consumer that reads the response as a Readable gets the body through
 * node:http, as does nearly every byte that ends the body or is unusual. All other bytes go to the reader of this object alone.
 *
 * node:http's parser gets the bytes of a body with a length too, because it counts them, but the response does not.
 */
export class DirectBody {
  readonly #response: IncomingMessage
  readonly #socket: Duplex
  readonly #decoder: ChunkDecoder | undefined
  #state: 'held' | 'direct' | 'node' = 'held'
  /** Bytes that were read and not passed on yet. */
  #pending: Buffer | undefined
  /** The memory of the pending bytes, where it was taken from `spare`. */
  #borrowed: Buffer | undefined
  #isPaused = false
  #reader: DirectReader | undefined
  /** How many bytes from node:http are skipped, because they were passed on before. */
  #replayed = 0
  /** How many bytes of a body with a length have not arrived. */
  #missing: number | undefined
  #isCounting = false

  constructor(response: IncomingMessage, socket: Duplex, framing: Framing) {
    this.#response = response
    this.#socket = socket
    this.#decoder = framing === 'chunked' ? new ChunkDecoder() : undefined
    this.#missing = typeof framing === 'number' ? framing : undefined
    socket.pause()
    // Whoever reads a Readable makes it call this function.
    response._read = (size) => {
      if (this.#state === 'held') this.#leaveToNode()
      if (this.#state === 'node') read.call(response, size)
    }
  }

  /** Whether this is the body of a response, and reading has not begun. */
  isHeldOf(response: Readable): boolean {
    return this.#state === 'held' && this.#response === response
  }

  /** Whether a part of the body has arrived and was not passed on yet. */
  get hasPending(): boolean {
    return this.#pending !== undefined
  }

  /**
   * Reads the body. The end and the errors of the response remain those of node:http; the caller resumes the response.
   *
   * @param reader - An object and not a function: a closure for each stream would be held as long as the stream.
   */
  read(reader: DirectReader): void {
    this.#state = 'direct'
    this.#reader = reader
    if (this.#missing !== undefined) this.#keepFromResponse()
    this.resume()
  }

  /** To be called besides `pause()` of the response. */
  pause(): void {
    this.#isPaused = true
    if (this.#state === 'direct') this.#socket.pause()
  }

  /** To be called besides `resume()` of the response. */
  resume(): void {
    this.#isPaused = false
    if (this.#state === 'direct') process.nextTick(() => this.#goOn())
  }

  /** Called by the socket's reader with bytes of the body, from `start` on. The bytes may be changed. */
  take(bytes: Buffer, start: number): void {
    if (this.#state === 'node') feed(this.#socket, bytes.subarray(start))
    else if (this.#state === 'held' || this.#isPaused || this.#pending) this.#keep(bytes.subarray(start))
    else this.#pass(bytes, start)
  }

  #goOn(): void {
    if (this.#state !== 'direct' || this.#isPaused) return
    const pending = this.#pending
    this.#pending = undefined
    if (pending) {
      this.#pass(pending, 0)
      this.#giveBack()
    }
    // The reader may have paused, or node:http may read from here on.
    if (!this.#isPaused && !this.#socket.destroyed) this.#socket.resume()
  }

  #keep(bytes: Buffer): void {
    const pending = this.#pending
    const isFirst = this.#state === 'held' && pending === undefined
    if (isFirst && bytes.length > shortPart && bytes.length <= spareSize) {
      const memory = spare ?? Buffer.allocUnsafeSlow(spareSize)
      spare = undefined
      memory.set(bytes)
      this.#borrowed = memory
      this.#pending = memory.subarray(0, bytes.length)
    } else {
      this.#pending = Buffer.concat(pending ? [pending, bytes] : [bytes])
      this.#giveBack()
    }
  }

  /** The memory is not recognized by its size: other buffers share memory of the same size, on Node 24 that of `Buffer.poolSize`. */
  #giveBack(): void {
    spare ??= this.#borrowed
    this.#borrowed = undefined
  }

  #pass(bytes: Buffer, start: number): void {
    const decoder = this.#decoder
    if (this.#missing !== undefined) {
      this.#passCounted(bytes, start, this.#missing)
      return
    }
    if (decoder === undefined) {
      this.#reader?.onBytes(start === 0 ? bytes : bytes.subarray(start))
      return
    }
    const end = decoder.decode(bytes, start, bytes.length)
    if (decoder.dataEnd > start) this.#reader?.onBytes(bytes.subarray(start, decoder.dataEnd))
    if (end === bytes.length || this.#socket.destroyed) return
    this.#state = 'node'
    this.#replayed = decoder.hasReplayedData ? 1 : 0
    this.#response.on('data', (chunk: Buffer) => this.#onNodeData(chunk))
    feed(this.#socket, decoder.resumeBytes)
    feed(this.#socket, bytes.subarray(end))
  }

  #onNodeData(chunk: Buffer): void {
    const skipped = Math.min(this.#replayed, chunk.length)
    this.#replayed -= skipped
    if (skipped < chunk.length) this.#reader?.onBytes(chunk.subarray(skipped))
  }

  #leaveToNode(): void {
    this.#state = 'node'
    const pending = this.#pending
    this.#pending = undefined
    if (!pending) return
    process.nextTick(() => {
      feed(this.#socket, pending)
      this.#giveBack()
    })
  }

  #passCounted(bytes: Buffer, start: number, missing: number): void {
    const end = Math.min(bytes.length, start + missing)
    const part = bytes.subarray(start, end)
    this.#missing = missing - part.length
    if (this.#missing === 0) this.#state = 'node'
    this.#reader?.onBytes(part)
    this.#isCounting = true
    lend(this.#socket, part)
    this.#isCounting = false
    if (end < bytes.length) feed(this.#socket, bytes.subarray(end))
  }

  /** What Node does not document: its parser pushes the parts of a body, and its end, into the response. */
  #keepFromResponse(): void {
    const response = this.#response
    const { push } = response
    response.push = (chunk: unknown, encoding?: BufferEncoding) =>
      this.#isCounting && chunk !== null ? true : push.call(response, chunk, encoding)
  }
}
