import { FlakyUpstream, type ReceivedRequest, type Steps, wireOf } from '../../support/flaky-upstream.ts'

const html = { status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html>' }
const busy = { status: 429, headers: { 'retry-after': '1' }, body: 'busy' }

/** An upstream that keeps its numbered events, and serves them from where its client is. */
export class NumberedUpstream implements AsyncDisposable {
  /** The number of the latest event. */
  latest = 0
  /** Whether everything but its page is answered with a 429. */
  isBusy = false
  readonly #server = new FlakyUpstream((asked) => this.#answerTo(asked))

  static async start(): Promise<NumberedUpstream> {
    const upstream = new NumberedUpstream()
    await upstream.#server.start()
    return upstream
  }

  /** Without a path. */
  get url(): string {
    return new URL(this.#server.url).origin
  }

  publish(events: number): void {
    this.latest += events
  }

  /** Drops every connection and refuses new ones. */
  leave(): void {
    this.#server.leave()
  }

  comeBack(): void {
    this.#server.comeBack()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server.close()
  }

  #answerTo({ path, lastEventId }: ReceivedRequest) {
    if (path === '/') return html
    return this.isBusy ? busy : { steps: this.#from(Number(lastEventId ?? 0)) }
  }

  *#from(number: number): Steps {
    for (;;) {
      while (number < this.latest) yield wireOf(++number)
      yield 10
    }
  }
}
