import {
  announce,
  type HubFigures,
  type HubGapReason,
  type HubMessages,
  type HubReleaseReason,
  type Logger,
  type Messages,
  nextHubId,
  type StoreCommand,
} from '../diagnostics.ts'
import { asError } from '../errors.ts'

/** Announces the messages about one hub. */
export class HubAnnouncer {
  readonly hub = nextHubId()
  readonly #logger: Logger | undefined
  #isStarted = false

  constructor(logger: Logger | undefined) {
    this.#logger = logger
  }

  /** Called before each stream. Announces the first one only. */
  start(figures: () => readonly HubFigures[]): void {
    if (this.#isStarted) return
    this.#isStarted = true
    announce('hub-start', { hub: this.hub, figures }, this.#logger)
  }

  end(): void {
    if (this.#isStarted) announce('hub-end', { hub: this.hub }, this.#logger)
  }

  /** Not logged: each event of a stream makes a call. */
  storeCall(command: StoreCommand, duration: number): void {
    announce('hub-store-call', { hub: this.hub, command, duration })
  }

  storeFailed(error: Error): void {
    announce('hub-store-error', { hub: this.hub, error })
  }

  /** @param since - On the clock of `performance.now()`. */
  storeAway(error: Error, since: number): void {
    const at = Date.now() - Math.round(performance.now() - since)
    announce('hub-store-away', { hub: this.hub, since: at, error }, this.#logger)
  }

  storeBack(duration: number): void {
    announce('hub-store-back', { hub: this.hub, duration: Math.round(duration) }, this.#logger)
  }

  /** @param options - Those of the stream; undefined where this process does not know the stream. */
  cancel(stream: string, reason: string, options: Partial<NamedOptions> = {}): void {
    const { name, logger = this.#logger } = options
    announce('hub-cancel', { hub: this.hub, stream, name, reason }, logger)
  }
}

interface NamedOptions {
  readonly name: string | undefined
  readonly logger: Logger | undefined
}

interface FaultListener {
  /** Called, in a later turn, with an error that the logger has thrown. */
  onFailure(fault: Error): void
}

/** Announces the messages about one shared stream. */
export class SharedStreamAnnouncer {
  readonly #about: { readonly hub: number; readonly stream: string; readonly name: string | undefined }
  readonly #logger: Logger | undefined
  readonly #listener: FaultListener

  constructor(hub: number, stream: string, options: NamedOptions, listener: FaultListener) {
    this.#about = { hub, stream, name: options.name }
    this.#logger = options.logger
    this.#listener = listener
  }

  open(epoch: number, first: boolean, cursor: string | undefined): void {
    this.#announce('hub-open', { ...this.#about, epoch, first, cursor })
  }

  release(epoch: number, reason: HubReleaseReason, error: Error | undefined): void {
    this.#announce('hub-release', { ...this.#about, epoch, reason, error })
  }

  gap(reason: HubGapReason, lastEventId: string, refused: boolean): void {
    this.#announce('hub-gap', { ...this.#about, reason, lastEventId, refused })
  }

  slow(lastEventId: string, stallTimeout: number): void {
    this.#announce('hub-slow', { ...this.#about, lastEventId, stallTimeout })
  }

  optionsIgnored(options: readonly string[]): void {
    this.#announce('hub-options', { ...this.#about, options })
  }

  #announce<K extends keyof HubMessages>(kind: K, message: Messages[K]): void {
    try {
      announce(kind, message, this.#logger)
    } catch (thrown) {
      // Messages are announced in timers and events too, where an exception of a logger would end the process.
      queueMicrotask(() => this.#listener.onFailure(asError(thrown)))
    }
  }
}
