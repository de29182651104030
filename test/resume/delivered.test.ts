import { expect } from 'chai'
import { Delivered, type DeliveredOptions } from '../../src/resume/delivered.ts'
import { EventTracker } from '../../src/resume/tracker.ts'
import { BlockScanner } from '../../src/wire/blocks.ts'
import { wire } from '../support/events.ts'

/** What a stream with these options has passed on, and how it passes on more without reading it. */
function delivered(options: Partial<DeliveredOptions> = {}) {
  const tracker = options.tracker ?? new EventTracker()
  const passedOn = new Delivered({ tracker, dedupe: true, cursor: undefined, windowBytes: 1000, ...options })
  passedOn.opened()
  const passOn = (...blocks: string[]) => {
    for (const text of blocks) {
      const scanner = new BlockScanner(100_000)
      scanner.push(Buffer.from(text))
      const run = scanner.next()
      if (run) passedOn.blocks(run, scanner)
    }
  }
  return { passedOn, passOn, tracker }
}

describe('what was passed on', () => {
  describe('has a position that', () => {
    it('is unknown at first', () => {
      const { passedOn } = delivered()
      expect(passedOn.position).to.deep.equal({
        lastEventId: '',
        cursor: undefined,
        header: undefined,
        isSendable: false,
      })
    })

    it('is the last id of unread blocks, encoded for a header', () => {
      const { passedOn, passOn } = delivered()
      passOn(wire('a') + wire('é'), 'data: x\n\n', ': c\n\n')
      expect(passedOn.position).to.deep.equal({
        lastEventId: 'é',
        cursor: 'é',
        header: 'Ã©',
        isSendable: true,
      })
      passOn('id: b\n\n')
      expect(passedOn.position).to.include({ lastEventId: 'b' })
    })

    it('is the same whether asked for after each block or at the end, and for long blocks', () => {
      const { passedOn, passOn } = delivered()
      for (const id of ['1', '2', '3']) {
        passOn(wire(id, 'x'.repeat(5000)))
        expect(passedOn.position.lastEventId).to.equal(id)
      }
      passOn(wire('4'), 'id\n\n')
      expect(passedOn.position.lastEventId).to.equal('')
    })

    it('cannot be sent when no header can carry the id', () => {
      const { passedOn, passOn } = delivered()
      passOn(wire('a\u0001'))
      expect(passedOn.position).to.deep.equal({
        lastEventId: 'a\u0001',
        cursor: 'a\u0001',
        header: undefined,
        isSendable: false,
      })
    })

    it('is the cursor that the option cursor returns, whatever the id is', () => {
      const { passedOn } = delivered({ cursor: ({ data }) => data, windowBytes: 0 })
      expect(passedOn.position).to.include({ isSendable: false })
      passedOn.event({ id: 'a\u0001', data: 'c' })
      expect(passedOn.position).to.include({ lastEventId: 'a\u0001', cursor: 'c', isSendable: true })
    })

    it('stays the same over a connection without ids', () => {
      const { passedOn, passOn } = delivered()
      passOn(wire(1))
      passedOn.opened()
      passedOn.opened()
      expect(passedOn.position.lastEventId).to.equal('1')
    })
  })

  it('counts events, neither comments nor blocks with an id alone', () => {
    const { passedOn, passOn } = delivered()
    passOn(': c\n\n', 'id: 1\n\n')
    expect(passedOn.events).to.equal(0)
    expect(passedOn.isFresh).to.equal(false)
    passOn(wire(2) + wire(3))
    expect(passedOn.events).to.equal(2)
    expect(passedOn.isFresh).to.equal(true)
    passedOn.event({ id: '4' })
    passedOn.event({ id: '5', data: 'x' })
    expect(passedOn.events).to.equal(3)
  })

  it('becomes fresh on each connection by an event, not by repeats, ids or comments', () => {
    const { passedOn, passOn } = delivered()
    passOn(wire(1))
    passedOn.opened()
    expect(passedOn.isFresh).to.equal(false)
    expect(passedOn.event({ id: '1', data: 'event 1' })).to.equal(false)
    passedOn.event({ id: '9' })
    passOn(': c\n\n')
    expect(passedOn.isFresh).to.equal(false)
    expect(passedOn.events).to.equal(1)
    passedOn.event({ id: '2', data: 'x' })
    expect(passedOn.isFresh).to.equal(true)
  })

  it('counts repeats that are passed on, but does not count them as fresh and does not resume from them', () => {
    const tracker = new EventTracker()
    for (const id of ['1', '2']) tracker.accept({ id, data: 'x' })
    tracker.advance({ id: '2' })
    const { passedOn } = delivered({ dedupe: false, tracker, windowBytes: 0 })
    expect(passedOn.event({ id: '1', data: 'x' })).to.equal(false)
    expect(passedOn).to.include({ events: 1, isFresh: false })
    expect(passedOn.position.lastEventId).to.equal('2')
    expect(tracker.duplicates).to.equal(0)
  })

  describe('must be read', () => {
    it('after a reconnect, for as long as repeats may come', () => {
      const { passedOn, passOn } = delivered({ tracker: new EventTracker({ windowSize: 2 }) })
      expect(passedOn.mustRead).to.equal(false)
      passOn(wire(1))
      passedOn.opened()
      expect(passedOn.mustRead).to.equal(true)
      passedOn.event({ data: 'a' })
      expect(passedOn.mustRead).to.equal(true)
      passedOn.event({ data: 'b' })
      expect(passedOn.mustRead).to.equal(false)
    })

    it('always when an option needs each event, and never for repeats that are not dropped', () => {
      expect(delivered({ windowBytes: 0 }).passedOn.mustRead).to.equal(true)
      const { passedOn, passOn } = delivered({ dedupe: false })
      passOn(wire(1))
      passedOn.opened()
      expect(passedOn.mustRead).to.equal(false)
    })
  })

  it('includes events that were read and unread, in their order', () => {
    const { passedOn, passOn, tracker } = delivered({ tracker: new EventTracker({ windowSize: 2 }) })
    passOn(wire(1), wire(2))
    passedOn.event({ id: '3', data: 'event 3' })
    passedOn.opened()
    expect(passedOn.event({ id: '1', data: 'event 1' }), 'out of the window').to.equal(true)
    expect(passedOn.event({ id: '2', data: 'event 2' })).to.equal(false)
    expect(passedOn.event({ id: '3', data: 'event 3' })).to.equal(false)
    expect(tracker.duplicates).to.equal(2)
  })

  it('keeps its events to detect repeats however many comments follow', () => {
    const { passedOn, passOn } = delivered({ windowBytes: 100 })
    passOn(wire(1), ...Array.from({ length: 100 }, () => ': comment\n\n'))
    passedOn.opened()
    expect(passedOn.event({ id: '1', data: 'event 1' })).to.equal(false)
  })

  it('keeps no blocks when repeats are not dropped', () => {
    const { passedOn, passOn, tracker } = delivered({ dedupe: false })
    passOn(wire(1))
    passedOn.opened()
    expect(tracker.isDuplicate({ id: '1', data: 'event 1' })).to.equal(false)
  })

  it('detects a block with an id alone as a repeat', () => {
    const { passedOn, passOn } = delivered()
    passOn('id: 1\n\n')
    passedOn.opened()
    expect(passedOn.event({ id: '1' })).to.equal(false)
    expect(passedOn.event({ id: '1', data: 'x' })).to.equal(true)
  })

  it('detects repeats of the latest blocks however few bytes are kept', () => {
    const { passedOn, passOn } = delivered({ windowBytes: 1 })
    passOn(wire(1), wire(2))
    passedOn.opened()
    expect(passedOn.event({ id: '2', data: 'event 2' })).to.equal(false)
  })

  it('forgets the events before blocks that were not kept', () => {
    const { passedOn, passOn } = delivered({ windowBytes: 30 })
    passedOn.event({ id: '0', data: 'event 0' })
    passOn(wire(1), wire(2), wire(3), wire(4))
    passedOn.opened()
    expect(passedOn.event({ id: '0', data: 'event 0' })).to.equal(true)
    expect(passedOn.event({ id: '4', data: 'event 4' })).to.equal(false)
  })

  it('keeps no blocks after the close, but still has its position', () => {
    const { passedOn, passOn, tracker } = delivered()
    passOn(wire(1))
    passedOn.close()
    expect(passedOn.position.lastEventId).to.equal('1')
    passedOn.opened()
    expect(tracker.isDuplicate({ id: '1', data: 'event 1' })).to.equal(false)
  })

  it('calls the option cursor for fresh events only', () => {
    const asked: (string | undefined)[] = []
    const cursor = ({ data }: { data?: string | undefined }) => {
      asked.push(data)
      return data
    }
    const { passedOn } = delivered({ cursor, windowBytes: 0 })
    passedOn.event({ id: '1' })
    passedOn.event({ id: '2', data: 'a' })
    passedOn.opened()
    passedOn.event({ id: '2', data: 'a' })
    expect(asked).to.deep.equal(['a'])
  })
})
