import http from 'node:http'

/** An answer that has arrived as a whole. */
export class ShortAnswer {
  readonly statusCode: number
  readonly statusMessage: string
  /** Names and values alternately. */
  readonly rawHeaders: readonly string[]
  /** The body with one character for each byte (latin1). */
  readonly text: string

  constructor(statusCode: number, statusMessage: string, rawHeaders: readonly string[], text: string) {
    this.statusCode = statusCode
    this.statusMessage = statusMessage
    this.rawHeaders = rawHeaders
    this.text = text
  }
}

/** The longest head, in bytes. node:http refuses one that is longer than its own limit. */
const mostHead = Math.min(http.maxHeaderSize, 8192)

/** The most lines of a head. node:http drops those behind the first 1,000 to 1,023. */
const mostLines = 999

const emptyLine = Buffer.from('\r\n\r\n')

/** A final status of a message whose body is as long as its fields say, or of a message without a body. */
const statusForm = /^HTTP\/1\.1 (2(?!04)\d\d|[345]\d\d) ([ -~]+)$/

/** A line in the form in which servers write it, without an empty value, a tab, or a byte beyond ASCII. */
const fieldForm = /^([!#$%&'*+.^_`|~\w-]+): ([ -~]+)$/

/** Fields that give a message another end, or a connection another use. */
const unusual: ReadonlySet<string> = new Set(['transfer-encoding', 'trailer', 'upgrade', 'proxy-connection'])

/**
 * Reads what has arrived as one whole answer to a GET, where nothing about it is unusual: its only framing is one length of up to four
 * digits (a longer body is read by `DirectBody`), nothing follows it, it is not an event stream, and the server keeps the connection.
 *
 * @returns Undefined for all else, which node:http reads.
 */
export function shortAnswerIn(bytes: Buffer): ShortAnswer | undefined {
  const end = bytes.subarray(0, mostHead).indexOf(emptyLine)
  if (end === -1) return undefined
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const [, status, statusMessage] = statusForm.exec(statusLine) ?? []
  if (status === undefined || statusMessage === undefined || lines.length > mostLines) return undefined
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
  // A 304 has no body: its length is that of the answer to a GET without a condition (RFC 9110, 15.4.5).
  const size = status === '304' ? 0 : length
  const start = end + emptyLine.length
  if (size === undefined || bytes.length !== start + Number(size)) return undefined
  return new ShortAnswer(Number(status), statusMessage, rawHeaders, bytes.toString('latin1', start))
}

/** @param name - In lower case. */
function isUnusual(name: string, value: string): boolean {
  if (name === 'content-length') return !/^\d{1,4}$/.test(value)
  if (name === 'connection') return value.toLowerCase() !== 'keep-alive'
  if (name === 'content-type') return /event-stream/i.test(value)
  return unusual.has(name)
}
