import type { ServerResponse } from 'node:http'

/**
 * The types that the relays over an EventSource listen to: one hears no others. Whoever asks such a relay for a stream
 * must send these only.
 */
export const eventTypes = ['message', 'token', 'update', 'größe', 'relay-status '] as const

/** Writes an event as those do who have a client library on one side and a response on the other. */
export function writeEvent(
  res: ServerResponse,
  id: string | undefined,
  type: string | undefined,
  data: string,
): void {
  const idLine = id === undefined || id === '' ? '' : `id: ${id}\n`
  const typeLine = type === undefined || type === 'message' ? '' : `event: ${type}\n`
  res.write(`${idLine}${typeLine}data: ${data.replaceAll('\n', '\ndata: ')}\n\n`)
}
