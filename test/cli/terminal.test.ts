import { expect } from 'chai'
import { configOf, fileOf, messageOf, routeOf, upstream } from '../support/config.ts'

describe('terminal', () => {
  const done = { event: 'done', data: 'x' }
  const last = { data: '[DONE]' }
  const relayOf = (given: unknown) => {
    using file = fileOf({ defaults: { upstream }, paths: { '/v1/': { terminal: given } } })
    const config = configOf(['--config', file.path])
    expect(routeOf(config).relay.isTerminal?.(last), 'of another path').to.equal(true)
    return routeOf(config, '/v1/').relay
  }

  for (const [given, ends, goesOn] of [
    [{ event: 'done' }, done, last],
    [{ data: '[DONE]' }, last, done],
    [{ event: 'done', data: 'x' }, done, { event: 'done', data: 'y' }],
    [{ event: 'message' }, last, done],
    ['event=done', done, last],
    ['data=', { data: '' }, last],
  ] as const) {
    it(`is ${JSON.stringify(given)} for a path, and then an end without the terminal event is a drop`, () => {
      const { isTerminal, endWithoutTerminal } = relayOf(given)
      expect([isTerminal?.(ends), isTerminal?.(goesOn), endWithoutTerminal]).to.deep.equal([
        true,
        false,
        'drop',
      ])
    })
  }

  for (const given of [null, 'none', 'null']) {
    it(`is not set with ${JSON.stringify(given)}`, () => {
      expect(relayOf(given)).not.to.have.any.keys('isTerminal', 'endWithoutTerminal')
    })
  }

  it('is a flag and a variable, in JSON or in the short form', () => {
    for (const text of ['event=done', '{"event":"done"}']) {
      for (const config of [
        configOf(['--upstream', upstream, '--terminal', text]),
        configOf(['--upstream', upstream], { RESILIENT_SSE_TERMINAL: text }),
      ]) {
        const { isTerminal } = routeOf(config).relay
        expect([isTerminal?.(done), isTerminal?.(last)]).to.deep.equal([true, false])
      }
    }
  })

  for (const given of [
    {},
    { event: 1 },
    { type: 'x' },
    { event: 'x', type: 'y' },
    [],
    5,
    'done',
    '{"event"',
  ]) {
    it(`rejects ${JSON.stringify(given)}`, () => {
      using file = fileOf({ defaults: { upstream, terminal: given } })
      expect(messageOf(['--config', file.path])).to.match(/: defaults\.terminal must be .*, got \S/)
    })
  }
})
