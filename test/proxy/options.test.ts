import { expect } from 'chai'
import { createSseHub, createSseProxy } from '../../src/index.ts'

const hub = createSseHub()

describe('options of createSseProxy', () => {
  for (const [option, value] of [
    ['onError', 1],
    ['agent', {}],
    ['logger', {}],
    ['forwarded', 'yes'],
    ['host', 'a.test'],
    ['hosts', 'a.test'],
    ['hub', {}],
    ['share', 'all'],
    ['shared', 5],
  ] as const) {
    it(`refuses a wrong ${option}`, () => {
      const options = { upstream: 'http://upstream.test', [option]: value }
      expect(() => Reflect.apply(createSseProxy, undefined, [options])).to.throw(TypeError, option)
    })
  }

  it('says where an option belongs that is not one of relay', () => {
    // @ts-expect-error an option of relay.reconnect
    const create = () => createSseProxy({ upstream: 'http://a.test', relay: { maxRetries: 1 } })
    expect(create).to.throw(
      TypeError,
      'relay.maxRetries is not an option here: it belongs to relay.reconnect',
    )
  })

  for (const [options, type, message] of [
    [{ upstream: 'nowhere' }, TypeError, 'upstream'],
    [{ upstream: 'ftp://a.test' }, TypeError, 'upstream'],
    [{ upstream: 'http://u:secret@a.test' }, TypeError, 'upstream'],
    [{ upstream: 'http://a.test/?a' }, TypeError, 'upstream'],
    [{ connectTimeout: -1 }, RangeError, 'connectTimeout'],
    [{ responseTimeout: -1 }, RangeError, 'responseTimeout'],
    [{ hosts: [] }, TypeError, 'hosts'],
    [{ hosts: ['http://a.test'] }, TypeError, 'hosts'],
    [{ relay: { heartbeat: -1 } }, RangeError, 'heartbeat'],
    [{ relay: { retry: -1 } }, RangeError, 'retry'],
    [{ relay: { reconnect: { jitter: 2 } } }, RangeError, 'reconnect.jitter'],
    [{ hub, shared: { linger: -1 } }, RangeError, 'shared.linger'],
    [{ hub, shared: { retention: { events: 0 } } }, RangeError, 'shared.retention.events'],
    [{ headers: { 'a b': 'c' } }, TypeError, 'headers.a b'],
    [{ headers: { a: 'b\r\nc: d' } }, TypeError, 'headers.a'],
    [{ headers: { 'Transfer-Encoding': 'chunked' } }, TypeError, 'headers.Transfer-Encoding'],
  ] as const) {
    it(`refuses ${JSON.stringify(options)}`, () => {
      const create = () => createSseProxy({ upstream: 'http://a.test', ...options })
      expect(create).to.throw(type, message)
      expect(create).not.to.throw('secret')
    })
  }

  it('refuses share and shared without a hub, and says where an option belongs', () => {
    const create = (options: object) => () =>
      Reflect.apply(createSseProxy, undefined, [{ upstream: 'http://a.test', ...options }])
    expect(create({ share: () => 'a' })).to.throw(TypeError, 'share needs the option hub')
    expect(create({ shared: { linger: 1 } })).to.throw(TypeError, 'shared needs the option hub')
    expect(create({ hub, linger: 1 })).to.throw(TypeError, 'it belongs to shared')
    expect(create({ hub, shared: { heartbeat: 1 } })).to.throw(TypeError, 'it belongs to relay')
    expect(create({ hub, shared: { lease: 1000 } })).to.throw(TypeError, 'it belongs to createSseHub')
    expect(create({ hub, shared: { events: 5 } })).to.throw(TypeError, 'it belongs to shared.retention')
    expect(create({ hub, share: () => 'a', shared: {} })).not.to.throw()
  })
})
