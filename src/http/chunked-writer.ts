import { OutgoingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { chunkOf } from './chunk-frame.ts'
import { FrameMemory } from './frame-memory.ts'
import { mostGathered, sharedChunkOf } from './shared-chunk.ts'

// As they are when this package is loaded. A response with other functions, as of middleware, is written to through those.
const { write, end } = OutgoingMessage.prototype
const { write: writeToSocket } = Socket.prototype

const nothing = Buffer.alloc(0)
const memory = new FrameMemory()
/** The writers with bytes that are not written yet: as a rule one. */
let waiting: ChunkedWriter[] = []
/** Whether text did not fit into the memory. */
let needsRoom = false

function flushAll(): void {
  flushWaiting()
  if (waiting.length > 0) return
  memory.releaseRest()
  if (needsRoom) memory.renew()
  needsRoom = false
}

function flushWaiting(): void {
  const writers = waiting
  waiting = []
  for (const writer of writers) writer.flush()
}

/** Makes a chunk with so much data fit into the memory, which is large enough for it. */
function makeRoom(length: number): void {
  if (memory.fits(length)) return
  flushWaiting()
  if (!memory.fits(length)) memory.renew()
}

/** The latest small bytes that were written as shared bytes. They stay: they are small, and there is only one of them. */
let latestShared: Uint8Array | undefined
/** Their chunk; made for the second response that they are written to. */
let latestChunk: Buffer | undefined

/**
 * Writes into a chunked response of node:http what its own `write` would write, straight into the response's socket: with one
 * write for all bytes of a turn of the event loop, where `write` makes four for each call. The head and the end of the response
 * remain node:http's.
 *
 * What Node does not document: once its head is out, a response holds no bytes back, so that bytes in its socket are in order.
 */
export class ChunkedWriter {
  readonly #res: ServerResponse
  readonly #onWrite: (hasRoom: boolean, size: number) => void
  /** The place of the bytes that are not written yet; -1 without any. */
  #from = -1
  #to = 0
  /** The text of the turn, which follows these bytes: it becomes one chunk. */
  #text = ''
  /** Whether the response emits `drain` when its socket, which is full, has room. */
  #drains = false

  /** @param onWrite - Called after each write to the response, with the result of `write` and the number of bytes. */
  constructor(res: ServerResponse, onWrite: (hasRoom: boolean, size: number) => void) {
    this.#res = res
    this.#onWrite = onWrite
  }

  /**
   * Whether the bytes of a response can be written like this: its head is out and says that the body is chunked, and all of its
   * functions are node:http's own.
   */
  static suits(res: object): res is ServerResponse {
    return (
      res instanceof ServerResponse &&
      Object.hasOwn(res, 'chunkedEncoding') &&
      res.chunkedEncoding &&
      res.headersSent &&
      res.write === write &&
      res.end === end &&
      res.writableCorked === 0 &&
      !res.writableEnded &&
      res.socket instanceof Socket &&
      res.socket.write === writeToSocket &&
      // Nothing waits in the response, before its socket.
      res.writableLength === res.socket.writableLength
    )
  }

  /** @param bytes - The caller's again after the call. */
  write(bytes: Uint8Array): void {
    const { length } = bytes
    if (length === 0) return
    if (this.#text !== '') this.flush()
    if (!memory.canFit(length)) {
      this.flush()
      this.#write(chunkOf(bytes))
      return
    }
    // The bytes of one writer are one slice.
    if (this.#from !== -1 && this.#to !== memory.end) this.flush()
    makeRoom(length)
    if (this.#from === -1) {
      this.#from = memory.end
      this.#wait()
    }
    memory.add(bytes)
    this.#to = memory.end
    if (length > mostGathered) this.flush()
  }

  /** Writes text: all text of a turn is one chunk, so that many small events do not become many chunks. */
  writeText(text: string): void {
    if (this.#text === '' && text !== '') this.#wait()
    this.#text += text
    if (this.#text.length >= mostGathered) this.flush()
  }

  /** Writes bytes that never change, at once; they may be written to many responses, which then share one chunk. */
  writeShared(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.flush()
    if (bytes.length > mostGathered) {
      this.#write(sharedChunkOf(bytes))
    } else if (bytes === latestShared) {
      latestChunk ??= chunkOf(bytes)
      this.#write(latestChunk)
    } else {
      latestShared = bytes
      latestChunk = undefined
      this.#writeOnce(bytes)
    }
  }

  /** Writes small bytes at once: without the end of a tick, which costs as much as the rest where a response gets no more bytes. */
  #writeOnce(bytes: Uint8Array): void {
    makeRoom(bytes.length)
    const from = memory.end
    memory.add(bytes)
    this.#flushSlice(from, memory.end)
  }

  /** Writes what was gathered. Called before the end of the response too. */
  flush(): void {
    if (this.#text !== '') this.#frameText()
    const from = this.#from
    if (from !== -1) this.#flushSlice(from, this.#to)
  }

  #wait(): void {
    if (waiting.push(this) === 1) process.nextTick(flushAll)
  }

  #frameText(): void {
    const text = this.#text
    this.#text = ''
    const length = Buffer.byteLength(text)
    const isBehind = this.#from !== -1 && this.#to !== memory.end
    const fits = memory.fits(length)
    if (this.#from !== -1 && (isBehind || !fits)) this.#flushSlice(this.#from, this.#to)
    if (fits) {
      if (this.#from === -1) this.#from = memory.end
      memory.addText(text, length)
      this.#to = memory.end
    } else {
      // Other writers have bytes in the memory, which must not be renewed before they are written.
      needsRoom = true
      this.#write(chunkOf(Buffer.from(text)))
    }
  }

  #flushSlice(from: number, to: number): void {
    this.#from = -1
    const gathered = memory.slice(from, to)
    // Bytes that wait for a slow client must not keep the memory of all others.
    const mustWait = (this.#res.socket?.writableLength ?? 0) > 0
    if (this.#write(mustWait ? copyOf(gathered) : gathered) || mustWait) memory.release(from, to)
    else memory.hold()
  }

  /** @returns Whether the kernel has taken all bytes, so that the chunk is not read again. */
  #write(chunk: Buffer): boolean {
    const res = this.#res
    const { socket } = res
    if (res.destroyed || !socket?.writable) return true
    if (!socket.writableNeedDrain) this.#drains = false
    const hasRoom = socket.write(chunk)
    const hasGone = socket.writableLength === 0
    if (!hasRoom && !hasGone && !this.#drains) {
      // The response emits `drain` only after a write of its own that finds no room. The encoding is that of strings.
      write.call(res, nothing, 'latin1')
      this.#drains = true
    }
    // While it is written, a large chunk fills the socket.
    this.#onWrite(hasRoom || hasGone, chunk.length)
    return hasGone
  }
}

/** A copy in memory of its own: small buffers of Node share a pool, which each of them would keep. */
function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length)
  copy.set(bytes)
  return copy
}
