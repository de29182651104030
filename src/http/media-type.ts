/** A media type as a Content-Type field names it. */
export interface MediaType {
  /** Type and subtype in lower case, such as `text/event-stream`. */
  readonly essence: string
  /** The media type with its parameters, unchanged. */
  readonly text: string
}

/**
 * The media type of a body: the last valid one in all Content-Type lines.
 *
 * @param contentType - The value of a Content-Type field, or of each of its lines.
 * @see {@link https://fetch.spec.whatwg.org/#concept-header-extract-mime-type | Fetch, "extract a MIME type"}
 */
export function mediaTypeOf(contentType: string | readonly string[] = []): MediaType | undefined {
  const value = typeof contentType === 'string' ? contentType : contentType.join(',')
  return membersOf(value)
    .map((text) => ({ text, essence: text.split(';', 1)[0]?.trimEnd().toLowerCase() ?? '' }))
    .findLast(({ essence }) => essence !== '*/*' && mediaType.test(essence))
}

/** Whether a Content-Type is `text/event-stream`, with or without parameters, in any case. */
export function isEventStream(contentType: string | readonly string[] | undefined): boolean {
  if (contentType === undefined) return false
  const text = typeof contentType === 'string' ? contentType : contentType.join(',')
  // The value that most event streams have needs no parser, and neither does a shorter one.
  if (text.length <= eventStream.length) return text.toLowerCase() === eventStream
  // Most answers that a proxy passes on are of other types, which are not parsed either.
  return /event-stream/i.test(text) && mediaTypeOf(text)?.essence === eventStream
}

const eventStream = 'text/event-stream'

/** Two tokens (RFC 9110, 5.6.2) with a slash between them. */
const mediaType = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/

/** Splits at commas that are not in a quoted string (RFC 9110, 5.6.4). */
function membersOf(value: string): string[] {
  const members = ['']
  for (const [part] of value.matchAll(/"(?:\\.|[^"\\])*"?|[^",]+|,/gs)) {
    if (part === ',') members.push('')
    else members.push(members.pop() + part)
  }
  return members.map((member) => member.trim())
}
