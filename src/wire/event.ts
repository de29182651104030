import { shown } from '../errors.ts'

/**
 * One block of an event stream: an event, or an id without data.
 *
 * @example
 * ```ts
 * import { serializeEvent, type SseEvent } from 'resilient-sse'
 *
 * const event: SseEvent = { id: '7', event: 'price', data: '42' }
 * serializeEvent(event) // 'id: 7\nevent: price\ndata: 42\n\n'
 * ```
 */
export interface SseEvent {
  /** The block's own `id` field. `''` clears the last event ID; absent when the block has no `id` field. */
  readonly id?: string | undefined
  /** The event's type; absent for the default type, `message`. */
  readonly event?: string | undefined
  /** The data, with its lines joined by LF. Absent only for a block with an id and without data. */
  readonly data?: string | undefined
  /**
   * Set by a source: the last event ID after this block, inherited when the block has no `id` field (HTML, 9.2.6).
   * {@link serializeEvent} ignores this property, which is not a field on the wire.
   */
  readonly lastEventId?: string
}

/**
 * Serializes an event, with LF line ends and a closing blank line.
 *
 * An empty `id` clears the receiver's last event ID. Each CRLF, CR or LF within `data` starts a new `data:` line, which the
 * receiver reads as LF.
 *
 * @throws `TypeError` for an event that no wire format can carry: an `id` with CR, LF or NUL, an `event` with CR or LF, a
 * field that is not a string, or neither `data` nor `id`.
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream | HTML, 9.2.5}
 *
 * @example
 * ```ts
 * import http from 'node:http'
 * import { serializeEvent } from 'resilient-sse'
 *
 * http.createServer((_, res) => {
 *   res.writeHead(200, { 'content-type': 'text/event-stream' })
 *   res.end(serializeEvent({ id: '1', data: 'two\nlines' }))
 * })
 * ```
 */
export function serializeEvent(event: SseEvent): string {
  if (typeof event !== 'object' || event === null)
    throw new TypeError(`an event must be an object, got ${shown(event)}`)
  const { id, event: type, data } = event
  if (id === undefined && data === undefined) {
    throw new TypeError('an event needs data or an id: a client discards a block without both')
  }
  let out = ''
  if (id !== undefined) {
    checkField('id', id)
    out += `id: ${id}\n`
  }
  if (type !== undefined && type !== '') {
    checkField('event', type)
    out += `event: ${type}\n`
  }
  if (data === undefined) return `${out}\n`
  if (typeof data !== 'string') throw new TypeError(`event.data must be a string, got ${shown(data)}`)
  const lines = data.includes('\n') || data.includes('\r') ? data.replace(/\r\n|\r|\n/g, '\ndata: ') : data
  return `${out}data: ${lines}\n\n`
}

/** Serializes a comment: one line without a blank line, because some clients read every blank line as an event. */
export function serializeComment(text: string): string {
  return `: ${text}\n`
}

function checkField(name: 'id' | 'event', value: string): void {
  if (typeof value !== 'string') throw new TypeError(`event.${name} must be a string, got ${shown(value)}`)
  if (value.includes('\n') || value.includes('\r') || (name === 'id' && value.includes('\0'))) {
    throw new TypeError(
      `event.${name} must not hold a line end${name === 'id' ? ' or NUL' : ''}: ${JSON.stringify(value)}`,
    )
  }
}
