import { readdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import ts from 'typescript'

const src = new URL('../../src/', import.meta.url)

/** The patterns in the library, as they stand in its source. */
function patterns(): string[] {
  const found: string[] = []
  for (const name of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue
    const text = readFileSync(new URL(name, src), 'utf8')
    const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)
    const visit = (node: ts.Node): void => {
      if (ts.isRegularExpressionLiteral(node)) found.push(node.text)
      ts.forEachChild(node, visit)
    }
    visit(source)
  }
  return found
}

/** Whether a group that may repeat without limit holds something that may as well: the mark of exponential backtracking. */
function repeatsARepetition(pattern: string): boolean {
  let rest = pattern.replace(/\\./g, 'x').replace(/\[[^\]]*\]/g, 'x')
  for (let last = ''; last !== rest; ) {
    last = rest
    if (/\([^()]*(?:[*+]|\{\d+,\})[^()]*\)(?:[*+]|\{\d+,\})/.test(rest)) return true
    // An innermost group counts as a repetition further out, when there is one in it.
    rest = rest.replace(/\(([^()]*)\)/g, (_, inner) => (/[*+]|\{\d+,\}/.test(inner) ? 'x+' : 'x'))
  }
  return false
}

describe('regular expressions for text from outside', () => {
  it('have no repetition within a repetition', () => {
    const all = patterns()
    expect(all).to.have.length.above(20)
    expect(all.filter(repeatsARepetition)).to.deep.equal([])
    // All of src is parsed.
  })

  it('are found if they have one', () => {
    for (const pattern of ['/(a+)+$/', '/^(?:x(y*)z)*$/', '/([^/]+\\/?){2,}/', '/((a|b+)c?)+/'])
      expect(repeatsARepetition(pattern), pattern).to.equal(true)
    for (const pattern of ['/^\\d+(\\.\\d+)?$/', '/(ab)+c*/', '/[(a+)+]/', '/\\(a+\\)+/'])
      expect(repeatsARepetition(pattern), pattern).to.equal(false)
  })
})
