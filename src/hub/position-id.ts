import querystring from 'node:querystring'
import { encodeLastEventId } from '../http/fields.ts'
import type { Position } from './store.ts'

/** A last event ID that a client has sent: a position in the stream, and where the upstream can be resumed. */
export interface ClientId {
  /** Undefined for an id that the hub did not write. */
  readonly position: Position | undefined
  /** Where the upstream can be resumed; undefined without a place. */
  readonly cursor: string | undefined
}

/**
 * The id of an event on the wire: its position, and after a `/` the place from which its upstream can be resumed. A place that a
 * header field cannot carry is percent-encoded after a second `/`: a client that could not send its id would lose its position.
 */
export function formatId({ epoch, seq }: Position, cursor: string | undefined): string {
  const position = `${epoch}-${seq}`
  if (cursor === undefined) return position
  const isPlain = encodeLastEventId(cursor) !== undefined && !cursor.startsWith('/')
  // The buffer replaces lone surrogates, which encodeURIComponent refuses.
  return isPlain ? `${position}/${cursor}` : `${position}//${encodeURIComponent(`${Buffer.from(cursor)}`)}`
}

/** Parses the last event ID of a client. An id in another form is the upstream's own. */
export function parseId(id: string): ClientId {
  // No sign, space or leading zero: each position has one form, which the hub itself has written.
  const [, epoch, seq, cursor] = /^([1-9]\d{0,15})-(0|[1-9]\d{0,15})(?:\/(.*))?$/s.exec(id) ?? []
  const position = { epoch: Number(epoch), seq: Number(seq) }
  if (!Number.isSafeInteger(position.epoch) || !Number.isSafeInteger(position.seq)) {
    return { position: undefined, cursor: id === '' ? undefined : id }
  }
  return { position, cursor: cursor?.startsWith('/') ? querystring.unescape(cursor.slice(1)) : cursor }
}
