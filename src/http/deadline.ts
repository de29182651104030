/** The longest time of a Node timer, in milliseconds: a longer timer would fire at once. */
export const longestTimer = 2 ** 31 - 1

/**
 * The longest extension of a late deadline, in milliseconds. It is enough to read and decode the input that has arrived, and
 * for a request to be sent and answered.
 */
const longestExtension = 1000

/**
 * Calls a function after a time limit, unless it is cleared or refreshed; 0 means no limit.
 *
 * Fires only after pending input was read: in a busy or suspended process a late timer would otherwise run before data that
 * had already arrived, and a live peer would time out. When a timer is late, the limit is extended by the same time, up to a
 * second.
 *
 * All deadlines with the same limit share one timer of Node: each stream has several, and a timer with its callback costs
 * 0.4 kB.
 */
export class Deadline {
  /** When the limit started, on the clock of `performance.now()`. Set by the queue. */
  start = 0
  /** The neighbours in the queue. Set by the queue. */
  before: Deadline | undefined
  after: Deadline | undefined
  readonly #queue: DeadlineQueue | undefined
  readonly #onTime: () => void
  #state: 'running' | 'over' | 'cleared' = 'running'

  /**
   * @param limit - In milliseconds.
   * @param keepsAlive - Whether the timer keeps the process alive.
   */
  constructor(limit: number, onTime: () => void, keepsAlive = true) {
    this.#onTime = onTime
    if (limit > 0) {
      this.#queue = queueFor(limit, keepsAlive)
      this.#queue.append(this)
    }
  }

  /** Restarts the limit, unless it was cleared. Called for each chunk and therefore cheap: the timer is not replaced. */
  refresh(): void {
    if (this.#state === 'cleared') return
    if (this.#state === 'running') this.#queue?.remove(this)
    this.#state = 'running'
    this.#queue?.append(this)
  }

  clear(): void {
    if (this.#state === 'running') {
      this.#queue?.remove(this)
      this.#queue?.endIfEmpty()
    }
    this.#state = 'cleared'
  }

  /** Called by the queue, which has removed the deadline. */
  fire(): void {
    this.#state = 'over'
    this.#onTime()
  }
}

const queues = { waitedFor: new Map<number, DeadlineQueue>(), background: new Map<number, DeadlineQueue>() }

function queueFor(limit: number, keepsAlive: boolean): DeadlineQueue {
  const byLimit = keepsAlive ? queues.waitedFor : queues.background
  const known = byLimit.get(limit)
  if (known) return known
  const queue = new DeadlineQueue(limit, keepsAlive, () => {
    // A deadline that is refreshed after its queue was empty runs in a queue of its own.
    if (byLimit.get(limit) === queue) byLimit.delete(limit)
  })
  byLimit.set(limit, queue)
  return queue
}

/** The running deadlines of one limit: a linked list in the order in which they are due, and one timer. */
class DeadlineQueue {
  readonly #limit: number
  readonly #keepsAlive: boolean
  readonly #onEmpty: () => void
  #first: Deadline | undefined
  #last: Deadline | undefined
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined

  constructor(limit: number, keepsAlive: boolean, onEmpty: () => void) {
    this.#limit = limit
    this.#keepsAlive = keepsAlive
    this.#onEmpty = onEmpty
  }

  /** Starts the limit of a deadline, which is due last. */
  append(deadline: Deadline): void {
    deadline.start = performance.now()
    deadline.before = this.#last
    if (this.#last) this.#last.after = deadline
    else this.#first = deadline
    this.#last = deadline
    if (this.#timer === undefined) this.#wait(this.#limit)
  }

  remove(deadline: Deadline): void {
    const { before, after } = deadline
    if (before) before.after = after
    else this.#first = after
    if (after) after.before = before
    else this.#last = before
    deadline.before = undefined
    deadline.after = undefined
  }

  endIfEmpty(): void {
    if (this.#first) return
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    this.#timer = undefined
    this.#onEmpty()
  }

  #wait(time: number): void {
    this.#setTimer(time, () => {
      const late = -this.#timeLeft
      // Since the timer was set, the deadline that it was set for may have been refreshed.
      if (late < 0) this.#wait(-late)
      else if (late < 1) this.#checkAfterInput()
      else this.#setTimer(Math.min(late, longestExtension), () => this.#checkAfterInput())
    })
  }

  /** Milliseconds until the first deadline is due; negative after that. */
  get #timeLeft(): number {
    const { start = Number.POSITIVE_INFINITY } = this.#first ?? {}
    return start + this.#limit - performance.now()
  }

  #setTimer(time: number, onTime: () => void): void {
    this.#timer = setTimeout(onTime, time)
    if (!this.#keepsAlive) this.#timer.unref()
  }

  /** Node reads sockets between timers and immediates. */
  #checkAfterInput(): void {
    this.#immediate = setImmediate(() => this.#check())
  }

  #check(): void {
    try {
      for (let first = this.#first; first && this.#timeLeft <= 0; first = this.#first) {
        this.remove(first)
        first.fire()
      }
    } finally {
      // Also after an error of the function that was called.
      if (this.#first) this.#wait(this.#timeLeft)
      else this.endIfEmpty()
    }
  }
}
