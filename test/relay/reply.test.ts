import { expect } from 'chai'
import { SseError } from '../../src/index.ts'
import type { Answer, Downstream, DownstreamListener } from '../../src/relay/downstream.ts'
import { checkRelayOptions } from '../../src/relay/options.ts'
import { Reply } from '../../src/relay/reply.ts'

/** A response that is kept in memory. */
class Kept implements Downstream {
  readonly isHeadOut = false
  readonly isClosed = false
  isBehind = false
  pending = 0
  text = ''
  answered: Answer | undefined
  isOpen = false
  isBroken = false
  listener: DownstreamListener | undefined

  field(): undefined {
    return undefined
  }

  listen(listener: DownstreamListener): void {
    this.listener = listener
  }

  turn(): undefined {
    return undefined
  }

  discardRequestBody(): void {}

  open(): void {
    this.isOpen = true
  }

  answer(answer: Answer): void {
    this.answered = answer
    this.listener?.onFinish()
  }

  write(bytes: Uint8Array | string): boolean {
    this.text += Buffer.from(bytes).toString()
    return !this.isBehind
  }

  callWhenEmpty(): void {}

  end(last = ''): void {
    this.text += last
    this.listener?.onFinish()
  }

  break(): void {
    this.isBroken = true
  }
}

/** The reply to a client, with an owner that has no stream of its own. */
function replyTo(accept: string, options: object = {}) {
  const downstream = new Kept()
  const calls: string[] = []
  const owner = {
    isBetweenBlocks: true,
    onBegin: () => calls.push('begin'),
    onHead: () => calls.push('head'),
    onRoom: () => calls.push('room'),
    onDisconnect: () => calls.push('disconnect'),
    onFault: (fault: Error) => calls.push(`fault ${fault.message}`),
    onOver: (outcome: string) => calls.push(`over: ${outcome}`),
  }
  const { relay } = checkRelayOptions({ heartbeat: 0, ...options })
  const reply = new Reply({ headers: { accept }, method: 'GET' }, downstream, relay, 1000, owner)
  reply.listen()
  reply.begin()
  return { reply, downstream, owner, calls }
}

describe('a reply to a client of a shared stream', () => {
  it('sends the head and the blocks, and ends', () => {
    const { reply, downstream, calls } = replyTo('text/event-stream', { head: 'eager' })
    expect(reply.write('data: 1\n\n')).to.equal(true)
    downstream.isBehind = true
    expect(reply.write('data: 2\n\n')).to.equal(false)
    downstream.listener?.onDrain()
    reply.end()
    expect(downstream.text).to.equal('data: 1\n\ndata: 2\n\n')
    expect(calls).to.deep.equal(['head', 'begin', 'room', 'over: ended'])
  })

  it('sends a heartbeat when it is asked to, but not to a full client or within a block', () => {
    const { reply, downstream, owner } = replyTo('*/*')
    reply.heartbeat()
    expect(downstream.text, 'before the head').to.equal('')
    reply.open()
    downstream.isBehind = true
    reply.heartbeat()
    downstream.isBehind = false
    owner.isBetweenBlocks = false
    reply.heartbeat()
    expect(downstream.text).to.equal('')
    owner.isBetweenBlocks = true
    reply.heartbeat()
    expect(downstream.text).to.equal(':\n')
    reply.end()
  })

  it('answers with 204 or 410 where its owner decides so, also to a client that reconnects', () => {
    const ended = replyTo('text/event-stream')
    ended.reply.end()
    expect(ended.downstream.answered?.status).to.equal(204)
    expect(ended.calls).to.deep.equal(['begin', 'over: refused'])
    const missed = replyTo('text/event-stream')
    missed.reply.refuse(new SseError('ERR_SSE_STATUS', 'no longer kept', { statusCode: 410 }))
    expect(missed.downstream.answered?.status).to.equal(410)
    expect(missed.calls).to.deep.equal(['begin', 'over: refused'])
  })

  it('answers a transient failure with a reconnection time if the client reconnects, else with a status', () => {
    const error = new SseError('ERR_SSE_CONNECT', 'no')
    const coming = replyTo('text/event-stream')
    coming.reply.fail(error)
    expect(coming.downstream.isOpen).to.equal(true)
    expect(coming.downstream.text).to.match(/^retry: \d+\n$/)
    expect(coming.calls).to.deep.equal(['begin', 'over: failed'])
    const other = replyTo('*/*')
    other.reply.fail(error)
    expect(other.downstream.answered?.status).to.equal(502)
  })

  it('writes nothing after its end, and tells of a client that disconnects', () => {
    const { reply, downstream, calls } = replyTo('*/*')
    reply.open()
    downstream.listener?.onClose()
    downstream.listener?.onClose()
    expect(reply.phase).to.equal('disconnected')
    expect(reply.write('data: 1\n\n')).to.equal(true)
    reply.close()
    reply.fail(new Error('late'))
    reply.end()
    expect(downstream.text).to.equal('')
    expect(calls).to.deep.equal(['begin', 'head', 'disconnect', 'over: client-gone'])
  })
})
