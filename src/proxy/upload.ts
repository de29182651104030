import type { ClientRequest } from 'node:http'
import type { Readable } from 'node:stream'
import type { ProxyRequest, ProxyResponse } from './downstream.ts'

/**
 * The most bytes of a client's body that wait for the upstream. Node notices a disconnected client only while it reads the
 * socket: with a smaller buffer, most clients that disconnect while the upstream connection is being made would go unnoticed.
 */
const longestQueue = 2 ** 20

/** Sends a client's body to the upstream. */
export class Upload {
  readonly #req: ProxyRequest
  readonly #request: ClientRequest

  /**
   * @param request - The request to the upstream; its head is sent at once.
   * @param onProgress - Called for each part of the body.
   */
  constructor(req: ProxyRequest, res: ProxyResponse, request: ClientRequest, onProgress: () => void) {
    this.#req = req
    this.#request = request
    // The upstream may answer before the body's first byte.
    request.flushHeaders()
    const body: Readable = req
    const onData = (chunk: Buffer) => {
      onProgress()
      if (!request.write(chunk) && request.writableLength > longestQueue) body.pause()
    }
    const onEnd = () => {
      // node:http2 ends an incomplete body as if it were complete; only the destroyed stream shows the difference.
      if ('stream' in req && req.stream.destroyed) request.destroy()
      else request.end()
    }
    const stop = () => {
      body.off('data', onData).off('end', onEnd)
      body.resume()
    }
    // Not `pipeline`: it would destroy `req`, and with it the client's connection, before the answer is sent.
    body.on('data', onData).once('end', onEnd)
    request.on('drain', () => body.resume())
    request.on('error', stop)
    res.once('close', () => {
      stop()
      // The answer is over: the upstream needs no more of the body.
      if (!request.writableFinished) request.destroy()
    })
  }

  /** Whether the upstream waits for the client's body: a slow client must not count as an upstream that does not answer. */
  get waitsForClient(): boolean {
    const { socket, writableNeedDrain } = this.#request
    return socket?.connecting === false && !writableNeedDrain && !this.#req.complete
  }
}
