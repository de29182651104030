import { type HeaderFields, isErrorCode, reasonOf, SseError } from '../errors.ts'
import { retryAfterOf } from '../http/fields.ts'
import { failureOf, fieldsToPassOn } from '../relay/head.ts'
import type { EndEntry, Position } from './store.ts'

/**
 * The entry that ends a stream.
 *
 * @param error - What the upstream has failed with; undefined where it has ended.
 */
export function endOf(epoch: number, previous: Position | undefined, error: Error | undefined): EndEntry {
  const { code, statusCode, headers } = error ? failureOf(error) : {}
  return {
    kind: 'end',
    epoch,
    at: Date.now(),
    how: error ? 'failed' : 'ended',
    previous,
    code,
    status: statusCode,
    fields: headers && formatFields(headers),
    reason: error && reasonOf(error),
  }
}

/** The error of a stream that has failed, as far as the entry holds it. */
export function errorIn({ code, status, fields, reason = 'the upstream has failed' }: EndEntry): SseError {
  const headers = fields === undefined ? undefined : parseFields(fields)
  const retryAfter = headers && retryAfterOf(headers, Date.now())
  return new SseError(code && isErrorCode(code) ? code : 'ERR_SSE_STREAM_FAILED', reason, {
    ...(status !== undefined && { statusCode: status }),
    ...(headers !== undefined && { headers }),
    ...(retryAfter !== undefined && { retryAfter }),
  })
}

/** The fields that clients need who wait for the answer at other processes; undefined without any. */
function formatFields(headers: HeaderFields): string | undefined {
  const lines = Array.from(fieldsToPassOn(headers), ([name, value]) => `${name}: ${value}`)
  return lines.length > 0 ? lines.join('\n') : undefined
}

function parseFields(text: string): HeaderFields {
  const fields = text.split('\n').map((line) => /^(.*?): (.*)$/.exec(line) ?? [])
  return Object.fromEntries(fields.map(([, name = '', value = '']) => [name, value]))
}
