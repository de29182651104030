import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Messages } from '../diagnostics.ts'

/** A message of a diagnostics channel. Any code may publish there, so the types of the fields are unknown. */
export type Fields<Message> = { readonly [K in keyof Message]?: unknown }

/**
 * Subscribes to a channel.
 *
 * @param onMessage - Called with each message, and with the name of its stream.
 * @returns A function that ends the subscription.
 */
export function listen<K extends keyof Messages>(
  kind: K,
  onMessage: (message: Fields<Messages[K]>, name: string) => void,
): () => void {
  const channel = `resilient-sse:${kind}`
  const listener = (message: unknown) => {
    if (typeof message !== 'object' || message === null) return
    onMessage(message, 'name' in message && isText(message.name) ? message.name : '')
  }
  subscribe(channel, listener)
  return () => unsubscribe(channel, listener)
}

export const isText = (value: unknown) => typeof value === 'string'
export const isNumber = (value: unknown) => typeof value === 'number'
