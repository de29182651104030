import { Transform } from 'node:stream'
import { asError } from '../errors.ts'
import { type SseEvent, serializeEvent } from './event.ts'
import { withoutLateData } from './late-data.ts'

/**
 * Makes a Transform from {@link SseEvent}s to the bytes of an event stream. An event that cannot be serialized fails the
 * Transform with the `TypeError` of {@link serializeEvent}.
 */
export function createSerializer(): Transform {
  const serializer = new Transform({
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
  return withoutLateData(serializer)
}
