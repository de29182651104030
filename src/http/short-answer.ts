import http from 'node:http'

/** An answer that has arrived as a whole. */
export interface ShortAnswer {
  readonly statusCode: number
  readonly statusMessage: string
  /** Names and values alternately. */
  readonly rawHeaders: readonly string[]
  /** The body with one character for each byte (latin1). */
  readonly text: string
}

/** The longest answer with its head, in bytes; longer bodies are not copied at all by `DirectBody`. */
const most = 16_384

/** As node:http: a longer head is an error. */
const mostHead = Math.min(http.maxHeaderSize, most)

/** The final status of a message that has a body. */
const statusForm = /^HTTP\/1\.1 (2(?!04)\d\d|3(?!04)\d\d|[45]\d\d) ([ -~]+)$/

/** A line in the form in which servers write it, without an empty value, a tab, or a byte beyond ASCII. */
const fieldForm = /^([!#$%&'*+.^_`|~\w-]+): ([ -~]+)$/

/** The end of a head. */
const emptyLine = '\r\n\r\n'

/** Fields that give a message another end, or a connection another use. */
const unusual: ReadonlySet<string> = new Set(['transfer-encoding', 'trailer', 'upgrade', 'proxy-connection'])

/**
 * Reads what has arrived as one whole answer to a GET, where nothing about it is unusual: its only framing is one length of up to four
 * digits, nothing follows it, it is not an event stream, and the server keeps the connection.
 *
 * @returns Undefined for all else, which node:http reads.
 */
export function shortAnswerIn(bytes: Buffer): ShortAnswer | undefined {
  if (bytes.length > most) return undefined
  const message = bytes.toString('latin1')
  const end = message.indexOf(emptyLine)
  const head = end + emptyLine.length
  if (end === -1 || head > mostHead) return undefined
  const [statusLine = '', ...lines] = message.slice(0, end).split('\r\n')
  const [, status, statusMessage] = statusForm.exec(statusLine) ?? []
  if (status === undefined || statusMessage === undefined) return undefined
  const rawHeaders: string[] = []
  let length: string | undefined
  for (const line of lines) {
    const [, name = '', value = ''] = fieldForm.exec(line) ?? []
    const lower = name.toLowerCase()
    // node:http removes the spaces around a value.
    if (name === '' || value.trim() !== value || isUnusual(lower, value)) return undefined
    if (lower === 'content-length') {
      if (length !== undefined) return undefined
      length = value
    }
    rawHeaders.push(name, value)
  }
  if (length === undefined || message.length !== head + Number(length)) return undefined
  return { statusCode: Number(status), statusMessage, rawHeaders, text: message.slice(head) }
}

/** @param name - In lower case. */
function isUnusual(name: string, value: string): boolean {
  if (name === 'content-length') return !/^\d{1,4}$/.test(value)
  if (name === 'connection') return value.toLowerCase() !== 'keep-alive'
  if (name === 'content-type') return /event-stream/i.test(value)
  return unusual.has(name)
}
