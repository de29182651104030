import { asError } from '../errors.ts'
import type { RedisConnection } from './redis-client.ts'
import { refusesJoined } from './redis-errors.ts'
import { renewScript, runScript } from './redis-scripts.ts'

/** The most leases that one call extends: Redis runs no other command meanwhile. */
const mostJoined = 64

interface Renewal {
  readonly keys: readonly string[]
  readonly args: readonly string[]
  resolve(answer: readonly unknown[]): void
  reject(error: unknown): void
}

/**
 * Extends leases, those of one turn together: a process that owns 5,000 streams extends 1,500 leases a second, and Redis takes most of
 * the time of a call for the call itself.
 */
export class RedisRenewals {
  readonly #connection: RedisConnection
  #waiting: Renewal[] = []
  /** False in a cluster, whose servers refuse a call with keys of several slots. */
  #mayJoin = true

  constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  /** @returns What the script says of this lease. */
  renew(keys: readonly string[], args: readonly string[]): Promise<readonly unknown[]> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) process.nextTick(() => this.#sendWaiting())
      this.#waiting.push({ keys, args, resolve, reject })
    })
  }

  #sendWaiting(): void {
    const waiting = this.#waiting
    this.#waiting = []
    const size = this.#mayJoin ? mostJoined : 1
    for (let n = 0; n < waiting.length; n += size) void this.#send(waiting.slice(n, n + size))
  }

  async #send(group: readonly Renewal[]): Promise<void> {
    const keys = group.flatMap((renewal) => renewal.keys)
    const args = group.flatMap((renewal) => renewal.args)
    let answers: unknown
    try {
      answers = await runScript(this.#connection, renewScript, keys, args)
    } catch (thrown) {
      const error = asError(thrown)
      if (group.length > 1 && refusesJoined(error)) {
        this.#mayJoin = false
        for (const renewal of group) void this.#send([renewal])
      } else for (const { reject } of group) reject(error)
      return
    }
    for (const [n, { resolve, reject }] of group.entries()) {
      const answer: unknown = Array.isArray(answers) ? answers[n] : undefined
      if (!Array.isArray(answer)) reject(new Error('Redis gave an unknown answer to a renewal'))
      else if (String(answer[0]) === 'error') reject(new Error(String(answer[1])))
      else resolve(answer)
    }
  }
}
