import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect } from 'chai'
import type { LiveReader, Next } from '../../src/hub/log.ts'
import { Log } from '../../src/hub/log.ts'
import type { Loaded } from '../../src/hub/page-turns.ts'
import { Reader } from '../../src/hub/reader.ts'
import { StoreAccess } from '../../src/hub/store-access.ts'
import { type EndEntry, memoryStore } from '../../src/index.ts'

const at = (seq: number) => ({ epoch: 1, seq })
const page = (text: string, seq: number) => ({ bytes: Buffer.from(text), end: at(seq) })
const none = { code: undefined, status: undefined, fields: undefined, body: undefined, reason: undefined }
const end: EndEntry = { kind: 'end', epoch: 1, at: 0, how: 'ended', previous: at(3), ...none }

/** A log that answers as a test says. */
class ScriptedLog extends Log {
  readonly joined = new Set<LiveReader>()
  readonly answers: Next[] = []
  loaded: () => Promise<Loaded> = () => new Promise(() => {})

  constructor() {
    super(memoryStore(), new StoreAccess(100), 's', 0)
  }

  override next(): Next {
    return this.answers.shift() ?? { state: 'live' }
  }

  override load(): Promise<Loaded> {
    return this.loaded()
  }

  override join(reader: LiveReader): void {
    this.joined.add(reader)
  }

  override leave(reader: LiveReader): void {
    this.joined.delete(reader)
  }
}

/** Until pages that were asked for are loaded, and passed on in a turn of their own. */
async function loadedPages(): Promise<void> {
  for (let n = 0; n < 3; n++) await nextTurn()
}

function readerOf(log: ScriptedLog, hasRoom = () => true, onGap = (_: Reader) => {}) {
  const taken: string[] = []
  const reader: Reader = new Reader(log, at(0), {
    onEvents(bytes) {
      taken.push(bytes.toString())
      return hasRoom()
    },
    onUpstreamGap: () => taken.push('gap'),
    onGap(reason) {
      taken.push(reason)
      onGap(reader)
    },
    onEnd: ({ how }) => taken.push(how),
    onFailure: ({ message }) => taken.push(message),
  })
  return { reader, taken }
}

describe('a reader of a shared log', () => {
  it('passes nothing on to a consumer that closes it at a gap of the upstream', () => {
    const log = new ScriptedLog()
    const taken: string[] = []
    const target = {
      onEvents: (bytes: Buffer) => taken.push(`${bytes}`) > 0,
      onGap: () => {},
      onUpstreamGap: () => reader.close(),
      onEnd: () => {},
      onFailure: () => {},
    }
    const gap = { ...page('a', 1), gap: true }
    let reader = new Reader(log, at(0), target)
    log.answers.push({ state: 'page', page: gap })
    reader.read()
    reader = new Reader(log, at(0), target)
    reader.read()
    reader.onBytes(gap.bytes, gap.end, true)
    expect(taken).to.deep.equal([])
  })

  it('passes pages on until it has had every event, and then gets the latest events', () => {
    const log = new ScriptedLog()
    log.answers.push({ state: 'page', page: page('a', 1) }, { state: 'page', page: page('b', 2) })
    const { reader, taken } = readerOf(log)
    reader.read()
    expect(taken).to.deep.equal(['a', 'b'])
    expect(log.joined).to.include(reader)
    reader.onBytes(Buffer.from('c'), at(3))
    expect(taken).to.deep.equal(['a', 'b', 'c'])
    expect(reader.isBehind).to.equal(false)
    expect(reader.fullSince).to.equal(undefined)
  })

  it('ignores the latest events when it has had them', () => {
    const { reader, taken } = readerOf(new ScriptedLog())
    reader.read()
    reader.onBytes(Buffer.from('a'), at(2))
    reader.onBytes(Buffer.from('a'), at(2))
    reader.onBytes(Buffer.from('a'), at(1))
    expect(taken).to.deep.equal(['a'])
  })

  it('waits while its consumer is full, after a page and after the latest events', () => {
    const log = new ScriptedLog()
    log.answers.push({ state: 'page', page: page('a', 1) })
    const { reader, taken } = readerOf(log, () => false)
    reader.read()
    expect(reader.isBehind).to.equal(true)
    expect(reader.fullSince).to.be.a('number')
    expect(reader.position).to.deep.equal(at(1))
    reader.resume()
    expect(log.joined).to.include(reader)
    reader.onBytes(Buffer.from('b'), at(2))
    expect(reader.position).to.deep.equal(at(2))
    reader.resume()
    reader.resume()
    expect(taken).to.deep.equal(['a', 'b'])
    expect(log.joined).to.include(reader)
  })

  it('leaves the latest events to others when they come while its consumer is full, and reads them later', () => {
    const log = new ScriptedLog()
    const { reader, taken } = readerOf(log, () => false)
    reader.read()
    reader.onBytes(Buffer.from('a'), at(1))
    expect(log.joined).to.include(reader)
    reader.onBytes(Buffer.from('b'), at(2))
    expect(log.joined).to.not.include(reader)
    expect(reader.position).to.deep.equal(at(1))
    log.answers.push({ state: 'page', page: page('b', 2) })
    reader.resume()
    expect(taken).to.deep.equal(['a', 'b'])
    expect(reader.position).to.deep.equal(at(2))
  })

  it('loads a page, and passes nothing on when it was closed meanwhile', async () => {
    const log = new ScriptedLog()
    log.loaded = async () => ({ state: 'page', page: page('a', 1) })
    log.answers.push({ state: 'away' }, { state: 'live' }, { state: 'away' })
    const { reader, taken } = readerOf(log)
    reader.read()
    expect(reader.isBehind).to.equal(true)
    await loadedPages()
    expect(taken).to.deep.equal(['a'])
    const other = readerOf(log)
    other.reader.read()
    other.reader.close()
    await loadedPages()
    expect(other.taken).to.deep.equal([])
  })

  it('goes on after a gap, unless its consumer closes it', async () => {
    const log = new ScriptedLog()
    log.loaded = async () => ({ state: 'gap', resume: at(5) })
    log.answers.push(
      { state: 'away' },
      { state: 'page', page: page('a', 6) },
      { state: 'live' },
      { state: 'away' },
    )
    const { reader, taken } = readerOf(log)
    reader.read()
    await loadedPages()
    expect(taken).to.deep.equal(['trimmed', 'a'])
    expect(log.joined).to.include(reader)
    const other = readerOf(log, undefined, (reader) => reader.close())
    other.reader.read()
    await loadedPages()
    expect(other.taken).to.deep.equal(['trimmed'])
    expect(log.joined).to.not.include(other.reader)
    expect(other.reader.position).to.deep.equal(at(5))
  })

  it('fails once when a page cannot be loaded', async () => {
    const log = new ScriptedLog()
    log.loaded = () => Promise.reject(new Error('away'))
    log.answers.push({ state: 'away' })
    const { reader, taken } = readerOf(log)
    reader.read()
    await loadedPages()
    reader.resume()
    expect(taken).to.deep.equal(['away'])
  })

  it('ends once, whether it reads the end or is live', () => {
    const log = new ScriptedLog()
    const live = readerOf(log)
    live.reader.read()
    live.reader.onLogEnd(end)
    live.reader.onBytes(Buffer.from('late'), at(4))
    log.answers.push({ state: 'end', end })
    const reads = readerOf(log)
    reads.reader.read()
    for (const { reader, taken } of [live, reads]) {
      reader.resume()
      expect(taken).to.deep.equal(['ended'])
      expect(log.joined).to.not.include(reader)
    }
    expect(live.reader.position).to.deep.equal(at(3))
  })
})
