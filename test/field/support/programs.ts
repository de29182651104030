import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The programs that the tests run, by the names of Debian's packages, and under which names they are looked for. */
const programs = {
  nginx: ['nginx'],
  chromium: ['chromium', 'chromium-browser', 'google-chrome'],
  curl: ['curl'],
} as const

export type ProgramName = keyof typeof programs

/** Debian keeps nginx where the PATH of an ordinary user does not lead. */
const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function find(name: ProgramName): string | undefined {
  return programs[name].flatMap((file) => folders.map((folder) => join(folder, file))).find(isExecutable)
}

/** @throws When the program is not installed. */
export function pathOf(name: ProgramName): string {
  const path = find(name)
  if (path === undefined) throw new Error(`${name} is not installed`)
  return path
}

/** The Debian packages of the programs that are not installed. */
export function missingPrograms(): ProgramName[] {
  const names: readonly ProgramName[] = ['nginx', 'chromium', 'curl']
  return names.filter((name) => find(name) === undefined)
}
