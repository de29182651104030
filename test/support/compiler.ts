import { join } from 'node:path'
import ts from 'typescript'
import { root } from './pages.ts'

/** The project's options for the compiler, with some changed. */
function optionsWith(changed: ts.CompilerOptions): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  return ts.parseJsonConfigFileContent(config, ts.sys, root, changed).options
}

/** What the compiler says of files that exist only here, with the file's path from the project's folder. */
export function complaintsAbout(files: ReadonlyMap<string, string>): string[] {
  const options = optionsWith({
    allowJs: true,
    checkJs: true,
    noUnusedLocals: false,
    noUnusedParameters: false,
  })
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (name) => files.has(name) || fileExists(name)
  host.readFile = (name) => files.get(name) ?? readFile(name)
  host.getSourceFile = (name, how, ...rest) => {
    const text = files.get(name)
    return text === undefined ? getSourceFile(name, how, ...rest) : ts.createSourceFile(name, text, how)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file ? file.getLineAndCharacterOfPosition(start).line : 0
    return `${file?.fileName.slice(root.length)}, line ${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
  })
}

/** A public name. */
export interface PublicName {
  readonly name: string
  /** The texts of its docstring's `@example`. */
  readonly examples: readonly string[]
}

/** The names that files of the project export, types included. */
export function namesExportedBy(files: readonly string[]): readonly PublicName[] {
  const program = ts.createProgram(
    files.map((file) => join(root, file)),
    optionsWith({}),
  )
  const checker = program.getTypeChecker()
  return files.flatMap((file) => {
    const source = program.getSourceFile(join(root, file))
    const module = source && checker.getSymbolAtLocation(source)
    if (!module) throw new Error(`${file} is no module`)
    return checker.getExportsOfModule(module).map((symbol) => {
      const named = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      const tags = named.getJsDocTags(checker).filter((tag) => tag.name === 'example')
      return { name: symbol.name, examples: tags.map(({ text }) => ts.displayPartsToString(text)) }
    })
  })
}
