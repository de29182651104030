import { Transform } from 'node:stream'
import { asError } from '../errors.ts'
import { type SseEvent, serializeEvent } from './event.ts'

/**
 * A Transform from {@link SseEvent}s to the bytes of an event stream. It fails with the `TypeError` of
 * {@link serializeEvent} for what cannot be on the wire.
 */
export function createSerializer(): Transform {
  return new Transform({
    writableObjectMode: true,
    transform(event: SseEvent, _, callback) {
      let text: string
      try {
        text = serializeEvent(event)
      } catch (error) {
        callback(asError(error))
        return
      }
      callback(null, text)
    },
  })
}
