import { asError, SseError } from '../errors.ts'

/** The oldest version of Redis that the store works with. */
const leastVersion = 7

/** Replies that the same command would get again: the key, the password or the rights must be changed first. */
const lasting = /^(WRONGTYPE|NOAUTH|WRONGPASS|NOPERM)\b|^ERR unknown command/

/** Whether the same command would get this error again. */
export function isLasting(error: Error): boolean {
  return lasting.test(error.message)
}

/**
 * Whether a server refuses the keys of several streams in one command, and may take each alone: a server of a cluster, whose keys are
 * of several slots, or one with rights of the user for some keys only.
 */
export function refusesJoined(error: Error): boolean {
  return /^(CROSSSLOT|TRYAGAIN|NOPERM)\b/.test(error.message)
}

/** The error for a caller: `ERR_SSE_STORE` for an error that no repetition can mend, otherwise the error itself. */
export function redisError(thrown: unknown): Error {
  const cause = asError(thrown)
  if (cause instanceof SseError || !isLasting(cause)) return cause
  const message = `the store of shared streams was refused a command: ${cause.message}`
  return new SseError('ERR_SSE_STORE', message, { cause })
}

/** Whether a server that was the master is a replica now. */
export function isReplicaError(thrown: unknown): boolean {
  return asError(thrown).message.startsWith('READONLY')
}

/**
 * Asks a server for its version. Valkey names the version of Redis that it is compatible with.
 *
 * @throws {@link SseError} `ERR_SSE_STORE` for a server that is too old.
 */
export async function checkVersion(send: (args: string[]) => Promise<unknown>): Promise<void> {
  let info: string
  try {
    info = String(await send(['INFO', 'server']))
  } catch (error) {
    // Not every user of the server may ask for its version.
    if (asError(error).message.startsWith('NOPERM')) return
    throw error
  }
  const [, version = ''] = /^redis_version:(.*?)\r?$/m.exec(info) ?? []
  if (Number.parseInt(version, 10) >= leastVersion) return
  const message = `the store of shared streams needs Redis ${leastVersion}.0 or later, and the server has version ${version || 'unknown'}`
  throw new SseError('ERR_SSE_STORE', message)
}
