/** Events in wire form, with their ids. */
export interface Piece {
  readonly bytes: Buffer
  /** The `seq` of the first event. */
  readonly first: number
  /** The `seq` of the last event. */
  readonly last: number
  /** Where the upstream can be resumed after these events; undefined when unknown. */
  readonly cursor: string | undefined
  /** Whether events of the upstream may be missing before these. */
  readonly gap?: boolean | undefined
}

/** Events that wait to be appended, oldest first. What waits at the same time is appended together, as far as it fits. */
export class Batch {
  /** The most bytes that are taken at once, unless one event is larger. */
  readonly #most: number
  #pieces: Piece[] = []
  #bytes = 0
  /** Events after those in the pieces. */
  #text = ''
  #first = 0
  #last = 0
  #cursor: string | undefined
  /** Whether events may be missing before the next one that is added. */
  #isAfterGap = false

  constructor(most: number) {
    this.#most = most
  }

  /** How much waits, in bytes; events that were added as text count their characters. */
  get size(): number {
    return this.#bytes + this.#text.length
  }

  add(piece: Piece): void {
    this.#closeText()
    this.#push(piece)
  }

  /** Events of the upstream may be missing before the next one that is added. */
  addGap(): void {
    this.#closeText()
    this.#isAfterGap = true
  }

  /** Adds one event. */
  addText(text: string, seq: number, cursor: string | undefined): void {
    if (this.#text !== '' && this.#text.length + text.length > this.#most) this.#closeText()
    if (this.#text === '') this.#first = seq
    this.#text += text
    this.#last = seq
    this.#cursor = cursor
  }

  /** Removes the oldest events that make one append; undefined when none waits. */
  take(): Piece | undefined {
    this.#closeText()
    const first = this.#pieces[0]
    if (first === undefined) return undefined
    let { length } = first.bytes
    let count = 1
    for (; count < this.#pieces.length; count++) {
      const next = this.#pieces[count]
      length += next?.bytes.length ?? 0
      if (length > this.#most || next?.gap) break
    }
    const piece = count === 1 ? first : joined(first, this.#pieces.slice(0, count))
    if (count === this.#pieces.length) this.#pieces.length = 0
    else this.#pieces.splice(0, count)
    this.#bytes -= piece.bytes.length
    return piece
  }

  clear(): void {
    this.#pieces = []
    this.#bytes = 0
    this.#text = ''
    this.#isAfterGap = false
  }

  #closeText(): void {
    if (this.#text === '') return
    const bytes = Buffer.from(this.#text)
    this.#text = ''
    this.#push({ bytes, first: this.#first, last: this.#last, cursor: this.#cursor })
  }

  #push(piece: Piece): void {
    this.#pieces.push(this.#isAfterGap ? { ...piece, gap: true } : piece)
    this.#isAfterGap = false
    this.#bytes += piece.bytes.length
  }
}

function joined(first: Piece, pieces: readonly Piece[]): Piece {
  const { last, cursor } = pieces.at(-1) ?? first
  const bytes = Buffer.concat(pieces.map((piece) => piece.bytes))
  return { bytes, first: first.first, last, cursor, gap: first.gap }
}
