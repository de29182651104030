import type { ClientRequest } from 'node:http'
import type { Readable } from 'node:stream'
import type { ProxyRequest, ProxyResponse } from './downstream.ts'

/**
 * How much of a client's body is read ahead of the upstream, in bytes. While a socket is not read, nobody can tell that
 * its client has left: with less, most clients that leave while the upstream is dialled would go unnoticed.
 */
const mostAhead = 2 ** 20

/** A client's body on its way to the upstream. */
export class Upload {
  readonly #req: ProxyRequest
  readonly #request: ClientRequest

  /**
   * @param request - The request to the upstream; its head goes out at once.
   * @param onProgress - Called for each part of the body.
   */
  constructor(req: ProxyRequest, res: ProxyResponse, request: ClientRequest, onProgress: () => void) {
    this.#req = req
    this.#request = request
    // The answer may come before the body's first byte.
    request.flushHeaders()
    const body: Readable = req
    const onData = (chunk: Buffer) => {
      onProgress()
      if (!request.write(chunk) && request.writableLength > mostAhead) body.pause()
    }
    const onEnd = () => {
      // node:http2 ends a body that was cut off as if it were whole; what tells is that its stream is gone.
      if ('stream' in req && req.stream.destroyed) request.destroy()
      else request.end()
    }
    const stop = () => {
      body.off('data', onData).off('end', onEnd)
      body.resume()
    }
    // Not `pipeline`: it would destroy `req`, and the client's connection with it, before an answer is out.
    body.on('data', onData).once('end', onEnd)
    request.on('drain', () => body.resume())
    request.on('error', stop)
    res.once('close', () => {
      stop()
      // Who has answered to the end needs no more of it.
      if (!request.writableFinished) request.destroy()
    })
  }

  /** A client that is slow to send is not the upstream's fault. */
  get waitsForClient(): boolean {
    const { socket, writableNeedDrain } = this.#request
    return socket?.connecting === false && !writableNeedDrain && !this.#req.complete
  }
}
