import { expect } from 'chai'
import { proxyTo, raw, rawGet, statusOf } from '../support/proxy.ts'
import { answers, serve } from '../support/server.ts'

describe('request targets', () => {
  for (const [target, path] of [
    ['/a/b?c=http://evil/../..', '/prefix/a/b?c=http://evil/../..'],
    ['/', '/prefix/'],
    ['/a/./b/...', '/prefix/a/./b/...'],
    ['//evil/path', '/prefix//evil/path'],
    ['http://evil.test/path?q', '/prefix/path?q'],
    ['HTTPS://u:p@evil.test:99?q', '/prefix/?q'],
    ['http://evil.test//evil.test', '/prefix//evil.test'],
    ['/@evil.test', '/prefix/@evil.test'],
    ['/\\evil', '/prefix/\\evil'],
    ['/a|b^c{d}[e]"`<>', '/prefix/a|b^c{d}[e]"`<>'],
    ['/?a=\\..\\b|"^`{}[]<>\'%', '/prefix/?a=\\..\\b|"^`{}[]<>\'%'],
    ['/a\\..\\b', undefined],
    ['/a?b\x7f', undefined],
    ['/..', undefined],
    ['/../x', undefined],
    ['/a/../../x', undefined],
    ['/a/..?x', undefined],
    ['/%2e%2E/x', undefined],
    ['/.%2e/x', undefined],
    ['/a%2f..%2fx', undefined],
    ['/a%5c..%5Cx', undefined],
    ['/..;a=b/x', undefined],
    ['http://evil.test/../x', undefined],
    ['http://evil.test\\@other/', undefined],
    ['*', undefined],
    ['evil.test:80', undefined],
    ['ftp://evil.test/', undefined],
    ['/a\x01b', undefined],
    ['/a\tb', undefined],
    ['/a#b', undefined],
  ] as const) {
    it(`${path === undefined ? 'refuses' : 'keeps at the upstream'} ${JSON.stringify(target)}`, async () => {
      await using upstream = await serve(answers(200))
      await using proxy = await proxyTo(upstream, { path: '/prefix/' })
      const answer = await raw(proxy.server.port, rawGet(target))
      expect(statusOf(answer)).to.equal(path === undefined ? 400 : 200)
      expect(upstream.requests.map(({ url }) => url)).to.deep.equal(path === undefined ? [] : [path])
      for (const { headers } of upstream.requests) expect(headers.host).to.equal(`127.0.0.1:${upstream.port}`)
    })
  }
})
