import { getEventListeners } from 'node:events'
import { PassThrough } from 'node:stream'
import { expect } from 'chai'
import { dial } from '../../src/upstream/connection.ts'
import { until } from '../support/until.ts'

const timeouts = { connectTimeout: 0, idleTimeout: 0 }

/** A body, and a connection that reads it. */
async function open() {
  const body = new PassThrough()
  const controller = new AbortController()
  const connection = await dial(() => body, { ...timeouts, controller })
  if (!connection) throw new Error('not open')
  return { body, connection, attemptSignal: controller.signal }
}

describe('a connection', () => {
  for (const [end, reason, aborted] of [
    ['end', 'end', false],
    ['destroy', 'reset', true],
    ['error', 'reset', true],
  ] as const) {
    it(`settles once for ${end}, and ${aborted ? 'aborts' : 'does not abort'} the factory's signal`, async () => {
      const { body, connection, attemptSignal } = await open()
      const drop = connection.read(() => {})
      if (end === 'end') body.end('x')
      else if (end === 'destroy') body.destroy()
      else body.destroy(new Error('broken'))
      expect((await drop)?.reason).to.equal(reason)
      expect(attemptSignal.aborted).to.equal(aborted)
      expect(body.destroyed).to.equal(true)
    })
  }

  it('hands on no chunk after it was closed, and settles without a drop', async () => {
    const { body, connection, attemptSignal } = await open()
    const chunks: unknown[] = []
    const drop = connection.read((chunk) => {
      chunks.push(chunk)
      connection.close()
    })
    body.write('a')
    body.write('b')
    expect(await drop).to.equal(undefined)
    expect(chunks.map(String)).to.deep.equal(['a'])
    expect(attemptSignal.aborted).to.equal(true)
  })

  it('that is closed before it is read is not read', async () => {
    const { connection, body } = await open()
    connection.close()
    expect(await connection.read(() => {})).to.equal(undefined)
    expect(body.listenerCount('data')).to.equal(0)
  })

  it('fails with what its reader throws', async () => {
    const { body, connection } = await open()
    const own = new Error('own')
    const drop = connection.read(() => {
      throw own
    })
    body.write('a')
    expect(await drop.catch((error: unknown) => error)).to.equal(own)
    expect(body.destroyed).to.equal(true)
  })

  it('survives what a body emits late', async () => {
    const { body, connection } = await open()
    const drop = connection.read(() => {})
    body.end()
    await drop
    body.emit('error', new Error('late'))
    body.emit('aborted')
    body.emit('close')
  })

  it('gives the factory the signal of its attempt, and leaves no listener on it once that is settled', async () => {
    for (const [answer, outcome] of [
      [() => new PassThrough().end(), 'open'],
      [() => new Response(null, { status: 204 }), undefined],
      [() => Promise.reject(new Error('no')), 'ERR_SSE_CONNECT'],
    ] as const) {
      const controller = new AbortController()
      let given: AbortSignal | undefined
      const attempt = dial(
        (signal) => {
          given = signal
          return answer()
        },
        { ...timeouts, controller },
      )
      expect(getEventListeners(controller.signal, 'abort')).to.have.length(1)
      expect(
        await attempt.then(
          (connection) => connection && 'open',
          ({ code }) => code,
        ),
      ).to.equal(outcome)
      expect(given).to.equal(controller.signal)
      expect(getEventListeners(controller.signal, 'abort')).to.have.length(0)
      expect(controller.signal.aborted).to.equal(outcome === 'ERR_SSE_CONNECT')
    }
  })

  it('aborts what is dialling with the reason of the signal, and discards what comes after', async () => {
    const controller = new AbortController()
    const late = new PassThrough()
    let settle = (_: PassThrough) => {}
    const attempt = dial(
      () =>
        new Promise<PassThrough>((resolve) => {
          settle = resolve
        }),
      { ...timeouts, controller },
    )
    await Promise.resolve()
    const own = new Error('own')
    controller.abort(own)
    expect(await attempt.catch((error: unknown) => error)).to.equal(own)
    settle(late)
    await until(
      () => late.destroyed,
      () => 'the late body is destroyed',
    )
  })

  it('takes no harm from something late that is no upstream', async () => {
    const controller = new AbortController()
    let settle = (_: PassThrough) => {}
    const attempt = dial(
      () =>
        new Promise<PassThrough>((resolve) => {
          settle = resolve
        }),
      { ...timeouts, controller },
    )
    await Promise.resolve()
    controller.abort()
    await attempt.catch(() => {})
    settle(JSON.parse('{}'))
    // An unhandled rejection would fail the run.
    await new Promise(setImmediate)
  })

  it('has no limits at 0', async () => {
    const { body, connection } = await open()
    const drop = connection.read(() => {})
    expect(process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length).to.be.at.most(1)
    body.end()
    await drop
  })
})
