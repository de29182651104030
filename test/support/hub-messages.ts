import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { HubMessages } from '../../src/diagnostics.ts'
import { until } from './until.ts'

const hubKinds: readonly (keyof HubMessages)[] = [
  'hub-start',
  'hub-open',
  'hub-release',
  'hub-gap',
  'hub-slow',
  'hub-cancel',
  'hub-options',
  'hub-store-call',
  'hub-store-error',
  'hub-store-away',
  'hub-store-back',
  'hub-end',
]

/** The messages about hubs of this process, from now on until this object is disposed. */
export interface Observed extends Disposable {
  /** The kind of each message, with its fields. */
  readonly seen: ({ readonly kind: string } & Readonly<Record<string, unknown>>)[]
  /** The messages of one kind. */
  of(kind: keyof HubMessages): Observed['seen']
  /** Waits for a number of messages of one kind. */
  has(kind: keyof HubMessages, count?: number): Promise<void>
}

export function observeHubs(): Observed {
  const seen: Observed['seen'] = []
  const channels = hubKinds.map((kind) => {
    const listener = (message: unknown) => seen.push({ kind, ...Object(message) })
    subscribe(`resilient-sse:${kind}`, listener)
    return () => unsubscribe(`resilient-sse:${kind}`, listener)
  })
  const of = (kind: keyof HubMessages) => seen.filter((each) => each.kind === kind)
  return {
    seen,
    of,
    has: (kind, count = 1) =>
      until(
        () => of(kind).length === count,
        () => `${count} of ${kind} in ${seen.map((each) => each.kind)}`,
      ),
    [Symbol.dispose]() {
      for (const leave of channels) leave()
    },
  }
}
