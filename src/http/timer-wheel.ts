/** The longest time of a Node timer, in milliseconds: a longer timer would fire at once. */
export const longestTimer = 2 ** 31 - 1

/**
 * The longest extension of a late deadline, in milliseconds. It is enough to read and decode the input that has arrived, and
 * for a request to be sent and answered.
 */
const longestExtension = 1000

/** How much earlier than `performance.now()` the clock of Node's timers may be, in milliseconds. */
const tolerance = 0.5

/** What the wheel needs of a deadline. */
export interface Timed {
  readonly start: number
  readonly limit: number
  readonly keepsAlive: boolean
  /** The place in the wheel, and the neighbours there. Set by the wheel. */
  slot: Slot | undefined
  before: Timed | undefined
  after: Timed | undefined
  /** Called by the wheel, which has removed the deadline. */
  fire(): void
}

/** The deadlines that are due within one short span of time: a linked list in the order in which they were added. */
export class Slot {
  readonly span: number
  /** The latest time at which one of the deadlines was due when it was added. */
  due = Number.NEGATIVE_INFINITY
  first: Timed | undefined
  last: Timed | undefined

  constructor(span: number) {
    this.span = span
  }

  append(deadline: Timed, due: number): void {
    this.due = Math.max(this.due, due)
    deadline.slot = this
    deadline.before = this.last
    if (this.last) this.last.after = deadline
    else this.first = deadline
    this.last = deadline
  }

  remove(deadline: Timed): void {
    const { before, after } = deadline
    if (before) before.after = after
    else this.first = after
    if (after) after.before = before
    else this.last = before
    deadline.slot = undefined
    deadline.before = undefined
    deadline.after = undefined
  }
}

/**
 * The span of time in which a deadline is due: its number among all spans of its length. The longer a limit is, the longer are the
 * spans: a power of two, 1 ms for a limit below 64 ms and 256 ms for one of 15 s.
 */
function spanOf(limit: number, due: number): number {
  // Longer limits than that of Node's timers have the longest spans.
  const length = Math.max(0, 26 - Math.clz32(Math.min(limit, longestTimer)))
  return Math.floor(due / 2 ** length) * 32 + length
}

/** Many deadlines on one timer of Node. */
class TimerWheel {
  readonly #slots = new Map<number, Slot>()
  /** How many of the deadlines keep the process alive. */
  #lasting = 0
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  /** What the timer was set for; Infinity without a timer, -Infinity while pending input is read. */
  #wakesAt = Number.POSITIVE_INFINITY

  add(deadline: Timed): void {
    if (deadline.keepsAlive && this.#lasting++ === 0) this.#timer?.ref()
    const { due } = this.#put(deadline)
    if (due < this.#wakesAt) this.#wakeAt(due)
  }

  remove(deadline: Timed): void {
    if (deadline.keepsAlive && --this.#lasting === 0) this.#timer?.unref()
    const { slot } = deadline
    slot?.remove(deadline)
    if (slot && slot.first === undefined && this.#slots.get(slot.span) === slot) {
      this.#slots.delete(slot.span)
    }
    if (this.#slots.size === 0) this.#stop()
  }

  #put(deadline: Timed): Slot {
    const due = deadline.start + deadline.limit
    const span = spanOf(deadline.limit, due)
    const slot = this.#slots.get(span) ?? new Slot(span)
    slot.append(deadline, due)
    this.#slots.set(span, slot)
    return slot
  }

  #stop(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    this.#timer = undefined
    this.#wakesAt = Number.POSITIVE_INFINITY
  }

  #wakeAt(due: number): void {
    const now = performance.now()
    const time = Math.min(Math.max(0, due - now), longestTimer)
    this.#wakesAt = now + time
    this.#setTimer(time, () => this.#onTime())
  }

  #setTimer(time: number, onTime: () => void): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(onTime, Math.ceil(time))
    if (this.#lasting === 0) this.#timer.unref()
  }

  #onTime(): void {
    const now = performance.now()
    for (const slot of this.#takeOver(now)) this.#putAgain(slot)
    const late = now - this.#nextDue
    if (late < -tolerance) {
      this.#wakeAt(this.#nextDue)
      return
    }
    this.#wakesAt = Number.NEGATIVE_INFINITY
    if (late < 1) this.#checkAfterInput()
    else this.#setTimer(Math.min(late, longestExtension), () => this.#checkAfterInput())
  }

  /** When the first slot is due: Infinity without any. */
  get #nextDue(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { due } of this.#slots.values()) next = Math.min(next, due)
    return next
  }

  /** Node reads sockets between timers and immediates. */
  #checkAfterInput(): void {
    this.#immediate = setImmediate(() => this.#check())
  }

  #check(): void {
    const now = performance.now()
    const over = this.#takeOver(now)
    try {
      for (const slot of over) this.#fire(slot, now)
    } finally {
      // After an error of a function that was called, some are left.
      for (const slot of over) this.#putAgain(slot)
      if (this.#slots.size > 0) this.#wakeAt(this.#nextDue)
      else this.#stop()
    }
  }

  /** Removes and returns the slots whose time is over, in the order of their times. */
  #takeOver(now: number): Slot[] {
    const over = [...this.#slots.values()].filter(({ due }) => due <= now + tolerance)
    for (const { span } of over) this.#slots.delete(span)
    return over.sort((a, b) => a.due - b.due)
  }

  /** Gives all deadlines of a slot the place that they have now: some were refreshed. */
  #putAgain(slot: Slot): void {
    for (let deadline = slot.first; deadline; deadline = slot.first) {
      slot.remove(deadline)
      this.#put(deadline)
    }
  }

  /** Calls the functions of a slot's deadlines, except for those that were refreshed. */
  #fire(slot: Slot, now: number): void {
    for (let deadline = slot.first; deadline; deadline = slot.first) {
      slot.remove(deadline)
      if (deadline.start + deadline.limit > now + tolerance) {
        this.#put(deadline)
      } else {
        if (deadline.keepsAlive) this.#lasting--
        deadline.fire()
      }
    }
  }
}

/** All running deadlines of the process. */
export const wheel = new TimerWheel()
