import type { DropReason } from '../../diagnostics.ts'

/** The name of the shared stream. */
export const feed = 'feed'

/** A message to a gateway process. */
export type ToGateway =
  | {
      readonly kind: 'serve'
      readonly feedUrl: string
      readonly pagePort: number
      /** 0 for a free port. */
      readonly port: number
      /** Whether to open the shared stream before a client asks for it. */
      readonly opensFeed: boolean
    }
  /** Starts a session: reads an answer of the model to its end. */
  | { readonly kind: 'ask'; readonly session: string; readonly url: string }
  | { readonly kind: 'close' }

/** What a gateway process reports. */
export type FromGateway =
  | { readonly kind: 'serving'; readonly port: number }
  /** A session has its first attempt behind it. */
  | { readonly kind: 'asked'; readonly session: string }
  /** The process has got the upstream of a stream. */
  | { readonly kind: 'owner'; readonly stream: string; readonly isTakeOver: boolean }
  | { readonly kind: 'released'; readonly stream: string; readonly reason: string }
  /** The connection of the shared stream was opened again, is lost, or will be tried after a delay. */
  | { readonly kind: 'open'; readonly isFirst: boolean }
  | { readonly kind: 'drop'; readonly reason: DropReason }
  | { readonly kind: 'retry'; readonly delay: number; readonly reason: string }
  | { readonly kind: 'repeat' }
  | { readonly kind: 'clients'; readonly count: number }
