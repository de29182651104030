import { expect } from 'chai'
import { createLogger } from '../../src/cli/log.ts'

describe('createLogger', () => {
  function lineOf(fields: object, format: 'logfmt' | 'json' = 'logfmt'): string {
    const lines: string[] = []
    createLogger({ format, level: 'debug', write: (line) => lines.push(line) }).info(fields, 'a message')
    expect(lines).to.have.length(1)
    return lines[0] ?? ''
  }
  const fieldsOf = (fields: object) => lineOf(fields).replace(/^time=\S+ level=info msg="a message" /, '')

  for (const [value, written] of [
    ['plain/1.2:3', 'plain/1.2:3'],
    ['', '""'],
    ['two words', '"two words"'],
    ['a=b', '"a=b"'],
    ['say "no"', '"say \\"no\\""'],
    ['back\\slash', '"back\\\\slash"'],
    ['x\nlevel=error msg=lie', '"x\\nlevel=error msg=lie"'],
    ['\r\t\0', '"\\r\\t\\u0000"'],
    ['\u001b[31m\u007f\u009b', '"\\u001b[31m\\u007f\\u009b"'],
    ['\u2028\u2029\u202e\ufeff', '"\\u2028\\u2029\\u202e\\ufeff"'],
    ['\u{e0001}', '"\\udb40\\udc01"'],
    ['\ud800', '"\\ud800"'],
    ['日本', '"日本"'],
    [1.6, '2'],
    [true, 'true'],
  ] as const) {
    it(`writes ${JSON.stringify(value)} as ${written}`, () => {
      expect(fieldsOf({ value })).to.equal(`value=${written}\n`)
      const line = lineOf({ value }, 'json')
      expect(line.trimEnd()).not.to.match(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u)
      expect(JSON.parse(line)).to.include({
        level: 'info',
        msg: 'a message',
        value: value === 1.6 ? 2 : value,
      })
    })
  }

  it('writes only lines of the level and above', () => {
    const lines: string[] = []
    const log = createLogger({ format: 'logfmt', level: 'warn', write: (line) => lines.push(line) })
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level]({}, level)
    expect(lines.map((line) => /level=(\w+)/.exec(line)?.[1])).to.deep.equal(['warn', 'error'])
  })

  it('leaves out undefined fields, and cuts long values', () => {
    expect(fieldsOf({ a: undefined, b: 'x'.repeat(5000) })).to.equal(`b="${'x'.repeat(1000)}…"\n`)
  })

  it('writes the code, message and cause of an error, and the stack of a fault', () => {
    const cause = new Error('why')
    const known = Object.assign(new Error('what', { cause }), { code: 'ERR_X' })
    expect(fieldsOf({ err: known })).to.equal('code=ERR_X error=what cause=why\n')
    expect(fieldsOf({ err: new Error('what') })).to.match(/^error=what stack="Error: what\\n .*"\n$/)
  })

  it('writes the errors of an AggregateError without a message, alone and as a cause', () => {
    const refused = (address: string) => new Error(`connect ECONNREFUSED ${address}`)
    const all = Object.assign(new AggregateError([refused('::1:1'), refused('127.0.0.1:1')]), {
      code: 'ECONNREFUSED',
    })
    const told = 'ECONNREFUSED ::1:1, ECONNREFUSED 127.0.0.1:1'
    expect(fieldsOf({ err: all })).to.equal(`code=ECONNREFUSED error="${told}"\n`)
    const known = Object.assign(new Error('what', { cause: all }), { code: 'ERR_X' })
    expect(fieldsOf({ err: known })).to.equal(`code=ERR_X error=what cause="${told}"\n`)
    const wrapped = Object.assign(new AggregateError([new Error('in')], '', { cause: new Error('why') }), {
      code: 'ERR_X',
    })
    expect(fieldsOf({ err: wrapped })).to.equal('code=ERR_X error=in cause=why\n')
  })

  it('does not let a field replace time, level or msg', () => {
    expect(JSON.parse(lineOf({ level: 'error', msg: 'lie', time: 'never' }, 'json'))).to.include({
      level: 'info',
      msg: 'a message',
    })
  })
})
