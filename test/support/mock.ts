import nock from 'nock'

// Importing it already patches node:http and fetch; real servers are to be met unpatched.
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
