/** Says what was being measured when something failed. */
export async function during<T>(what: string, measurement: Promise<T>): Promise<T> {
  try {
    return await measurement
  } catch (cause) {
    throw new Error(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** Says what is going on, where it does not mix with the results. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  else process.stderr.write(`${text}\n`)
}
