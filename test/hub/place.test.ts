import { expect } from 'chai'
import fc from 'fast-check'
import { Log } from '../../src/hub/log.ts'
import { findPlace, type Place } from '../../src/hub/place.ts'
import type { Position } from '../../src/hub/store.ts'
import { StoreAccess } from '../../src/hub/store-access.ts'
import { memoryStore } from '../../src/index.ts'

const name = 's'

/** A log of two epochs with the events 1 to 4, in entries of two events, and its places. */
async function twoEpochs(trimBefore?: (epoch: number) => Position) {
  const store = memoryStore()
  const epochs: number[] = []
  for (const owner of ['first', 'second']) {
    const opened = await store.open(name, owner, { lease: 60_000, keepFor: 60_000 })
    if (opened.state !== 'open') throw new Error(opened.state)
    const { epoch } = opened
    epochs.push(epoch)
    for (const first of [1, 3]) {
      const bytes = Buffer.from(`id: ${epoch}-${first}\ndata\n\nid: ${epoch}-${first + 1}\ndata\n\n`)
      const entry = { kind: 'events', epoch, at: 0, first, last: first + 1, bytes, cursor: 'c' } as const
      await store.append(name, entry, trimBefore?.(epochs[0] ?? 0))
    }
    await store.renew(name, owner, 0, 60_000)
  }
  const log = new Log(store, new StoreAccess(1000), name, 1000)
  await log.sync()
  log.flush()
  const [first = 0, second = 0] = epochs
  const place = (lastEventId: string, from: 'live' | 'start' = 'live'): Promise<Place> =>
    findPlace({ lastEventId, from }, log, async (position) => (await store.read(name, position, 1))[0])
  return { first, second, place, close: () => log.close() }
}

describe('the place of a client in a shared log', () => {
  it('is the latest or the oldest event without an id', async () => {
    const { first, second, place, close } = await twoEpochs()
    expect(await place('')).to.deep.equal({ after: { epoch: second, seq: 4 }, gap: undefined })
    expect(await place('', 'start')).to.deep.equal({ after: { epoch: first, seq: 0 }, gap: undefined })
    close()
  })

  it('is after the event of its id, wherever the event is', async () => {
    const { first, second, place, close } = await twoEpochs()
    for (const epoch of [first, second]) {
      for (const seq of [0, 1, 2, 3, 4]) {
        for (const id of [`${epoch}-${seq}`, `${epoch}-${seq}/cursor`]) {
          expect(await place(id)).to.deep.equal({ after: { epoch, seq }, gap: undefined })
        }
      }
    }
    close()
  })

  it('is the oldest event after a gap with an id that the log cannot know', async () => {
    const { first, second, place, close } = await twoEpochs()
    for (const id of ['x', `${second}-5`, `${second + 1}-0`, `0-1`]) {
      expect(await place(id)).to.deep.equal({ after: { epoch: first, seq: 0 }, gap: 'unknown-id' })
    }
    close()
  })

  it('is the next event after a gap with an id that is missing in the log', async () => {
    const { first, second, place, close } = await twoEpochs()
    for (const id of [`${first}-5`, `${first}-999/cursor`]) {
      expect(await place(id)).to.deep.equal({ after: { epoch: second, seq: 0 }, gap: 'trimmed' })
    }
    expect(await place(`${first - 1}-3`)).to.deep.equal({ after: { epoch: first, seq: 0 }, gap: 'trimmed' })
    close()
  })

  it('has a gap just when the event behind it is no longer kept', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 5 }), fc.nat(4), async (seq, from) => {
        const { first, place, close } = await twoEpochs((epoch) => ({ epoch, seq }))
        // Trimming before 0 or 1 removes no event; each entry has two.
        const oldest = seq <= 2 ? 0 : 2
        const { after, gap } = await place(`${first}-${from}`)
        const isKept = from >= oldest || seq <= 1
        expect(gap).to.equal(isKept ? undefined : 'trimmed')
        if (isKept) expect(after).to.deep.equal({ epoch: first, seq: from })
        close()
      }),
    )
  })
})
