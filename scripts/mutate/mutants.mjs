// The mutants of a source file: small faults, one at a time, that some test should notice.
import ts from 'typescript'

const { SyntaxKind } = ts

/** What becomes of an operator. */
const operators = new Map([
  [SyntaxKind.EqualsEqualsEqualsToken, ['!==']],
  [SyntaxKind.ExclamationEqualsEqualsToken, ['===']],
  [SyntaxKind.LessThanToken, ['<=', '>=']],
  [SyntaxKind.LessThanEqualsToken, ['<', '>']],
  [SyntaxKind.GreaterThanToken, ['>=', '<=']],
  [SyntaxKind.GreaterThanEqualsToken, ['>', '<']],
  [SyntaxKind.PlusToken, ['-']],
  [SyntaxKind.MinusToken, ['+']],
  [SyntaxKind.AsteriskToken, ['/']],
  [SyntaxKind.SlashToken, ['*']],
  [SyntaxKind.PercentToken, ['*']],
  [SyntaxKind.AsteriskAsteriskToken, ['*']],
  [SyntaxKind.PlusEqualsToken, ['-=', '=']],
  [SyntaxKind.MinusEqualsToken, ['+=', '=']],
  [SyntaxKind.AmpersandAmpersandToken, ['||']],
  [SyntaxKind.BarBarToken, ['&&']],
  [SyntaxKind.QuestionQuestionToken, ['||', '&&']],
  [SyntaxKind.QuestionQuestionEqualsToken, ['=']],
  [SyntaxKind.AmpersandToken, ['|']],
  [SyntaxKind.BarToken, ['&']],
  [SyntaxKind.CaretToken, ['&']],
  [SyntaxKind.LessThanLessThanToken, ['>>>']],
  [SyntaxKind.GreaterThanGreaterThanGreaterThanToken, ['<<']],
  [SyntaxKind.PlusPlusToken, ['--']],
  [SyntaxKind.MinusMinusToken, ['++']],
])

/**
 * @param {string} file - The file's path from the root of the package.
 * @param {string} text
 */
export function mutantsOf(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const mutants = []
  const add = (start, end, replacement) => {
    // `return undefined` stays what it is.
    if (text.slice(start, end) === replacement) return
    const mutated = text.slice(0, start) + replacement + text.slice(end)
    const lineStart = text.lastIndexOf('\n', start) + 1
    const lineEnd = text.indexOf('\n', end)
    mutants.push({
      file,
      number: source.getLineAndCharacterOfPosition(start).line + 1,
      line: oneLine(text.slice(lineStart, text.indexOf('\n', start))),
      becomes: oneLine(text.slice(lineStart, start) + replacement + text.slice(end, lineEnd)),
      mutated,
    })
  }
  const replace = (node, replacement) => add(node.getStart(), node.end, replacement)
  const visit = (node) => {
    if (hasNoCode(node)) return
    mutate(node, replace)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return mutants
}

function oneLine(text) {
  return text.replace(/\s+/g, ' ').trim().slice(0, 200)
}

/** Types and imports are nothing at run time. */
function hasNoCode(node) {
  return (
    ts.isTypeNode(node) ||
    ts.isImportDeclaration(node) ||
    ts.isExportDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    (ts.canHaveModifiers(node) &&
      (ts.getModifiers(node)?.some(({ kind }) => kind === SyntaxKind.DeclareKeyword) ?? false))
  )
}

function mutate(node, replace) {
  if (ts.isIfStatement(node) || ts.isWhileStatement(node)) negate(node.expression, replace)
  else if (ts.isConditionalExpression(node)) negate(node.condition, replace)
  else if (ts.isForStatement(node) && node.condition) replace(node.condition, 'false')
  else if (ts.isBinaryExpression(node)) mutateOperator(node.operatorToken, replace)
  else if (ts.isPrefixUnaryExpression(node)) mutatePrefix(node, replace)
  else if (ts.isPostfixUnaryExpression(node))
    replace(node, `${node.operand.getText()}${operators.get(node.operator)}`)
  else if (node.kind === SyntaxKind.TrueKeyword) replace(node, 'false')
  else if (node.kind === SyntaxKind.FalseKeyword) replace(node, 'true')
  else if (ts.isNumericLiteral(node)) replace(node, Number(node.text) === 0 ? '1' : `(${node.getText()} + 1)`)
  else if (isString(node)) replace(node, "''")
  else if (node.kind === SyntaxKind.QuestionDotToken) replace(node, isBeforeName(node) ? '.' : '')
  else if (ts.isExpressionStatement(node) || ts.isThrowStatement(node)) replace(node, ';')
  else if (ts.isReturnStatement(node)) replace(node, node.expression ? 'return undefined' : ';')
  else if (ts.isBlock(node) && node.statements.length > 1) replace(node, '{}')
}

/** A comparison, or an operand of `&&` and `||`, is negated by its own operator. */
function negate(condition, replace) {
  const isNegatedElsewhere =
    (ts.isBinaryExpression(condition) && operators.has(condition.operatorToken.kind)) ||
    (ts.isPrefixUnaryExpression(condition) && condition.operator === SyntaxKind.ExclamationToken)
  if (isNegatedElsewhere) return
  replace(condition, `!(${condition.getText()})`)
}

function mutateOperator(token, replace) {
  for (const operator of operators.get(token.kind) ?? []) replace(token, operator)
}

function mutatePrefix(node, replace) {
  const operand = node.operand.getText()
  if (node.operator === SyntaxKind.ExclamationToken || node.operator === SyntaxKind.MinusToken)
    replace(node, operand)
  else for (const operator of operators.get(node.operator) ?? []) replace(node, `${operator}${operand}`)
}

/** A text in an expression; not the name of a property or a module, and not empty. */
function isString(node) {
  if (ts.isTemplateExpression(node)) return true
  return (
    ts.isStringLiteralLike(node) &&
    node.text !== '' &&
    !(ts.isPropertyAssignment(node.parent) && node.parent.name === node)
  )
}

function isBeforeName({ parent }) {
  return ts.isPropertyAccessExpression(parent)
}
