import { type HeaderFields, isErrorCode, reasonOf, SseError } from '../errors.ts'
import { retryAfterOf } from '../http/fields.ts'
import { answerTo, failureOf, fieldsToPassOn } from '../relay/head.ts'
import type { EndEntry, Position } from './store.ts'

/**
 * The entry that ends a stream.
 *
 * @param error - What the upstream has failed with; undefined where it has ended.
 */
export function endOf(epoch: number, previous: Position | undefined, error: Error | undefined): EndEntry {
  const { code, statusCode, headers } = error ? failureOf(error) : {}
  const { type, body } = error ? bodyFor(error) : {}
  return {
    kind: 'end',
    epoch,
    at: Date.now(),
    how: error ? 'failed' : 'ended',
    previous,
    code,
    status: statusCode,
    fields: headers && formatFields(headers, type),
    body,
    reason: error && reasonOf(error),
  }
}

/** The error of a stream that has failed, as far as the entry holds it. */
export function errorIn({
  code,
  status,
  fields,
  body,
  reason = 'the upstream has failed',
}: EndEntry): SseError {
  const headers = fields === undefined ? undefined : parseFields(fields)
  const retryAfter = headers && retryAfterOf(headers, Date.now())
  return new SseError(code && isErrorCode(code) ? code : 'ERR_SSE_STREAM_FAILED', reason, {
    ...(status !== undefined && { statusCode: status }),
    ...(headers !== undefined && { headers }),
    ...(body !== undefined && { body }),
    ...(retryAfter !== undefined && { retryAfter }),
  })
}

/** The body of the upstream's refusal, and its type, where clients get them: not what may be about this server's credentials. */
function bodyFor(error: Error): { readonly type?: string | undefined; readonly body?: Buffer } {
  const { fields, body } = answerTo(error, undefined)
  return Buffer.isBuffer(body) ? { type: fields.get('content-type'), body } : {}
}

/**
 * The fields that clients need who wait for the answer at other processes; undefined without any.
 *
 * @param type - The content type of the body that they get.
 */
function formatFields(headers: HeaderFields, type: string | undefined): string | undefined {
  const fields = fieldsToPassOn(headers)
  if (type !== undefined) fields.set('content-type', type)
  const lines = Array.from(fields, ([name, value]) => `${name}: ${value}`)
  return lines.length > 0 ? lines.join('\n') : undefined
}

function parseFields(text: string): HeaderFields {
  const fields = text.split('\n').map((line) => /^(.*?): (.*)$/.exec(line) ?? [])
  return Object.fromEntries(fields.map(([, name = '', value = '']) => [name, value]))
}
