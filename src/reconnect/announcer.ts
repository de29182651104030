import {
  announce,
  type EndMessage,
  type Messages,
  nextStreamId,
  type StreamMessage,
  type StreamStats,
} from '../diagnostics.ts'
import { redactUrl } from '../http/url.ts'
import type { Delivered } from '../resume/delivered.ts'
import type { LastingOptions } from './options.ts'
import type { Announced, Sink } from './sink.ts'

/**
 * An upstream that resumes does not send this many repeats before its first fresh event. For a connection that ends earlier
 * two repeats are enough: a single repeat may be the event at the cursor, which some upstreams send again.
 */
export const manyRepeats = 20
export const repeatsAtEnd = 2

let latest = { url: '', redacted: '' }

/** Redacts a URL. Thousands of streams of one upstream share the text. */
function sharedRedactedUrl(url: string): string {
  if (latest.url !== url) latest = { url, redacted: redactUrl(url) }
  return latest.redacted
}

/** Announces the messages of one stream: on the channels, in the logs, and to the stream's sink. */
export class Announcer {
  readonly #id = nextStreamId()
  readonly #options: Pick<LastingOptions, 'name' | 'logger'>
  readonly #sink: Sink
  #upstream: string | undefined
  #hasAnnouncedRepeats = false

  /** @param url - The upstream's URL, if it is known before the first connection. */
  constructor(options: Pick<LastingOptions, 'name' | 'logger'>, sink: Sink, url: string | undefined) {
    this.#options = options
    this.#sink = sink
    if (url !== undefined) this.#upstream = sharedRedactedUrl(url)
  }

  /** Set by a connection; ignored when the upstream's URL is already known. */
  set url(url: string | undefined) {
    if (url !== undefined) this.#upstream ??= sharedRedactedUrl(url)
  }

  /** The fields of all messages. */
  get about(): StreamMessage {
    return { id: this.#id, stream: this.#sink, name: this.#options.name, upstream: this.#upstream }
  }

  start(stats: () => StreamStats): void {
    announce('start', { ...this.about, stats }, this.#options.logger)
  }

  end(message: Omit<EndMessage, keyof StreamMessage>): void {
    announce('end', { ...this.about, ...message }, this.#options.logger)
  }

  /** Announces at most once that a connection has brought only repeats, at least `least` of them. */
  repeats({ repeats, position }: Pick<Delivered, 'repeats' | 'position'>, least: number): void {
    if (this.#hasAnnouncedRepeats || repeats < least) return
    this.#hasAnnouncedRepeats = true
    announce('repeats', { ...this.about, repeats, cursor: position.cursor }, this.#options.logger)
  }

  announce<K extends Announced>(kind: K, message: Messages[K]): void {
    announce(kind, message, this.#options.logger)
    this.#sink.announced(kind, message)
  }
}
