import { getEventListeners, once } from 'node:events'
import { PassThrough } from 'node:stream'
import { expect } from 'chai'
import type { CancelSignal } from '../../src/http/cancellation.ts'
import { type Connection, type DialOptions, type Drop, dial } from '../../src/upstream/connection.ts'
import { until } from '../support/until.ts'

const timeouts = { connectTimeout: 0, idleTimeout: 0 }

/** A body, and a connection that reads it. */
async function open(options: Partial<DialOptions> = {}) {
  const body = new PassThrough()
  const controller = new AbortController()
  const connection = await dial(() => body, { ...timeouts, controller, ...options })
  if (!connection) throw new Error('not open')
  return { body, connection }
}

/** Reads a connection; resolves with its drop, rejects with its fault. */
function dropOf(connection: Connection, onChunk: (chunk: Buffer) => void = () => {}): Promise<Drop> {
  return new Promise((onDrop, onFault) => connection.read({ onChunk, onDrop, onFault }))
}

describe('a connection', () => {
  for (const [end, reason] of [
    ['end', 'end'],
    ['destroy', 'reset'],
    ['error', 'reset'],
  ] as const) {
    it(`is dropped once for ${end}, and its body is destroyed`, async () => {
      const { body, connection } = await open()
      const drops: Drop[] = []
      connection.read({ onChunk() {}, onDrop: (drop) => drops.push(drop), onFault() {} })
      const closed = once(body, 'close')
      if (end === 'end') body.end('x')
      else if (end === 'destroy') body.destroy()
      else body.destroy(new Error('broken'))
      await closed.catch(() => {})
      await new Promise(setImmediate)
      expect(drops.map((drop) => drop.reason)).to.deep.equal([reason])
      expect(body.destroyed).to.equal(true)
    })
  }

  it('says in the message of a drop what happened', async () => {
    const messageOf = async (spoil: (body: PassThrough) => void, options: Partial<DialOptions> = {}) => {
      const { body, connection } = await open(options)
      const drop = dropOf(connection)
      spoil(body)
      return (await drop).error.message
    }
    expect(await messageOf((body) => body.end())).to.equal('the upstream ended the stream')
    expect(await messageOf((body) => body.destroy(new Error('broken')))).to.equal(
      'the upstream dropped the connection: broken',
    )
    expect(await messageOf(() => {}, { idleTimeout: 5 })).to.equal('the upstream was silent for 5 ms')
  })

  it('reports how long it has been open', async () => {
    const start = performance.now()
    const { connection } = await open()
    expect(connection.openFor).to.be.within(0, performance.now() - start)
    connection.close()
  })

  it('passes on no chunk and reports no drop after it was closed', async () => {
    const { body, connection } = await open()
    const seen: string[] = []
    connection.read({
      onChunk(chunk) {
        seen.push(String(chunk))
        connection.close()
      },
      onDrop: () => seen.push('drop'),
      onFault: () => seen.push('fault'),
    })
    const closed = once(body, 'close')
    body.write('a')
    body.write('b')
    await closed
    await new Promise(setImmediate)
    expect(seen).to.deep.equal(['a'])
  })

  it('that is closed before it is read is not read', async () => {
    const { connection, body } = await open()
    connection.close()
    connection.read({ onChunk() {}, onDrop() {}, onFault() {} })
    expect(body.listenerCount('data')).to.equal(0)
  })

  it('reports to its reader what the reader has thrown, and closes', async () => {
    const { body, connection } = await open()
    const own = new Error('own')
    const drop = dropOf(connection, () => {
      throw own
    })
    body.write('a')
    expect(await drop.catch((error: unknown) => error)).to.equal(own)
    expect(body.destroyed).to.equal(true)
  })

  it('reports a chunk that is neither bytes nor text as a fault', async () => {
    const controller = new AbortController()
    const body = new PassThrough({ objectMode: true })
    const connection = await dial(() => body, { ...timeouts, controller })
    if (!connection) throw new Error('not open')
    const drop = dropOf(connection)
    body.write(42)
    expect(await drop.catch((error: unknown) => error)).to.be.instanceOf(TypeError)
  })

  it('ignores what a body emits after the close', async () => {
    const { body, connection } = await open()
    const drop = dropOf(connection)
    body.end()
    await drop
    body.emit('error', new Error('late'))
    body.emit('aborted')
    body.emit('close')
  })

  it('passes the signal of the attempt to the factory, and leaves no listener on it after the attempt', async () => {
    for (const [answer, outcome] of [
      [() => new PassThrough().end(), 'open'],
      [() => new Response(null, { status: 204 }), undefined],
      [() => Promise.reject(new Error('no')), 'ERR_SSE_CONNECT'],
    ] as const) {
      const controller = new AbortController()
      let given: CancelSignal | undefined
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

  it('fails the attempt with the reason of its signal, and discards a late upstream', async () => {
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

  it('ignores a late value that is not an upstream', async () => {
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
    // @ts-expect-error what a factory without types may give
    settle({})
    // An unhandled rejection would fail the run.
    await new Promise(setImmediate)
  })

  it('has no time limits with 0', async () => {
    const { body, connection } = await open()
    const drop = dropOf(connection)
    expect(process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length).to.be.at.most(1)
    body.end()
    await drop
  })
})

describe('an attempt that fails', () => {
  const eventStream = { 'content-type': 'text/event-stream' }
  const answer = (statusCode: number, headers: Record<string, string> = {}) => ({
    statusCode,
    headers,
    body: new PassThrough(),
  })

  for (const [upstream, message] of [
    [answer(404), 'the upstream answered 404'],
    [answer(200), 'content-type (none)'],
    [answer(200, { 'content-type': 'text/html' }), 'content-type text/html'],
    [answer(200, { ...eventStream, 'content-encoding': 'x, compress' }), 'content-encoding x, compress'],
  ] as const) {
    it(`says "${message}", closes the body, and aborts the signal of its attempt`, async () => {
      const controller = new AbortController()
      const error = await dial(() => upstream, { ...timeouts, controller }).catch((reason: unknown) => reason)
      expect(error).to.have.property('message').that.includes(message)
      expect(upstream.body.destroyed).to.equal(true)
      expect(controller.signal.reason).to.equal(error)
    })
  }

  it('says how long it has waited for an answer', async () => {
    const controller = new AbortController()
    const attempt = dial(() => new Promise<PassThrough>(() => {}), {
      ...timeouts,
      controller,
      connectTimeout: 5,
    })
    expect(await attempt.catch((error: unknown) => error)).to.include({
      code: 'ERR_SSE_CONNECT_TIMEOUT',
      message: 'the upstream gave no answer within 5 ms',
    })
  })

  for (const fault of [
    new ReferenceError('x is not defined'),
    new SyntaxError('JSON'),
    new TypeError('x is no function'),
    Object.assign(new Error('bad'), { code: 'ERR_INVALID_URL' }),
    Object.assign(new TypeError('bad value'), { code: 'ERR_HTTP_INVALID_HEADER_VALUE' }),
    Object.assign(new TypeError('bad path'), { code: 'ERR_UNESCAPED_CHARACTERS' }),
  ]) {
    it(`fails with the ${fault.name} ${fault.message} unchanged, because another attempt would not help`, async () => {
      const controller = new AbortController()
      const attempt = dial(() => Promise.reject(fault), { ...timeouts, controller })
      expect(await attempt.catch((error: unknown) => error)).to.equal(fault)
    })
  }

  for (const cause of [
    new Error('no'),
    new TypeError('fetch failed', { cause: new Error('no') }),
    Object.assign(new TypeError('odd'), { code: 'ECONNRESET' }),
    Object.assign(new Error('odd'), { code: 7 }),
    'no Error',
  ]) {
    it(`takes ${cause} for a failure to connect`, async () => {
      const controller = new AbortController()
      const attempt = dial(() => Promise.reject(cause), { ...timeouts, controller })
      const error = await attempt.catch((reason: unknown) => reason)
      expect(error).to.include({ code: 'ERR_SSE_CONNECT', cause })
    })
  }
})
