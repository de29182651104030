import type { Answer, Downstream, DownstreamListener, ResponseFields } from './downstream.ts'

/** The bytes that are queued for the body's consumer before the upstream is paused. */
const highWaterMark = 65_536

/** A response of the fetch API, which is created when its head is known. */
export class WebResponse implements Downstream {
  /** Resolves when the head is known. */
  readonly response: Promise<Response>
  readonly isHeadOut = false
  isClosed: boolean
  readonly #signal: AbortSignal
  #listener: DownstreamListener | undefined
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  /** The error that breaks the body off after its queue was read. */
  #failure: Error | undefined
  #resolve: (response: Response) => void = () => {}

  /** @param signal - Aborted when the client disconnects. */
  constructor(signal: AbortSignal) {
    this.#signal = signal
    this.isClosed = signal.aborted
    this.response = new Promise((resolve) => {
      this.#resolve = resolve
    })
    if (signal.aborted) this.#resolve(abandonedResponse())
  }

  get isBehind(): boolean {
    return this.#controller !== undefined && (this.#controller.desiredSize ?? 0) < highWaterMark
  }

  get pending(): number {
    return this.#controller ? highWaterMark - (this.#controller.desiredSize ?? highWaterMark) : 0
  }

  field(): undefined {
    return undefined
  }

  listen(listener: DownstreamListener): void {
    this.#listener = listener
    this.#signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  turn(): undefined {
    return undefined
  }

  discardRequestBody(): void {}

  open(fields: ResponseFields): void {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#onPull(),
        cancel: () => this.#close(),
      },
      { highWaterMark, size: (chunk) => chunk.byteLength },
    )
    this.#resolve(new Response(body, { headers: Object.fromEntries(fields) }))
  }

  answer({ status, fields, body }: Answer): void {
    this.isClosed = true
    this.#resolve(new Response(body ?? null, { status, headers: Object.fromEntries(fields) }))
    this.#release()
    this.#listener?.onFinish()
  }

  write(bytes: Uint8Array | string): boolean {
    const controller = this.#controller
    if (this.isClosed || controller === undefined) return true
    // A copy, because the caller reuses the buffer and the consumer may read the chunk later.
    controller.enqueue(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : Uint8Array.from(bytes))
    return (controller.desiredSize ?? 0) > 0
  }

  /** The body's consumer asks for more whenever it has read. */
  callWhenEmpty(): void {}

  end(last?: string): void {
    if (last !== undefined) this.write(last)
    if (this.isClosed) return
    this.isClosed = true
    this.#release()
    this.#controller?.close()
    this.#listener?.onFinish()
  }

  break(error: Error): void {
    this.#failure = error
    setImmediate(() => this.#onPull())
  }

  /** Passes an error on only when the queue is empty: an error discards unread chunks. */
  #onPull(): void {
    if (this.#failure === undefined) this.#listener?.onDrain()
    else if (!this.isClosed && this.#controller?.desiredSize === highWaterMark) {
      this.#controller.error(this.#failure)
      this.#close()
    }
  }

  readonly #onAbort = () => {
    if (!this.isClosed) this.#controller?.error(this.#signal.reason)
    this.#close()
  }

  #close(): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#release()
    this.#resolve(abandonedResponse())
    this.#listener?.onClose()
  }

  #release(): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}

/** The response to a client that disconnected before the head was known. No client sees the status 499. */
function abandonedResponse(): Response {
  return new Response(null, { status: 499 })
}
