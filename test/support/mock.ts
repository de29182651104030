import nock from 'nock'

// Importing nock patches node:http and fetch, which tests with real servers must use unpatched.
nock.restore()

/** A mocked upstream, for headers and statuses only: it has no network and no backpressure. */
export function mockUpstream(origin = 'http://upstream.test'): nock.Scope & Disposable {
  nock.activate()
  return Object.assign(nock(origin), {
    [Symbol.dispose]() {
      nock.cleanAll()
      nock.restore()
    },
  })
}
