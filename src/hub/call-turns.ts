import { Deadline } from '../http/deadline.ts'

/** How many calls of a hub run at a time. */
const mostAtOnce = 64

/** How long a call that is not answered keeps others waiting, in milliseconds: a store that is away holds each call for seconds. */
const longestTurn = 250

/**
 * Lets some calls run at a time, the others in the order in which they come. What thousands of calls hold while they wait for the
 * store would outlive the collections of young objects, and leave the memory between the objects that stay in pieces: 5,000 clients
 * that came at once made 37 kB of each followed stream, and one after another 24.
 */
export class CallTurns {
  readonly #most: number
  readonly #longest: number
  #running = 0
  readonly #waiting = new Set<() => void>()

  constructor(most = mostAtOnce, longest = longestTurn) {
    this.#most = most
    this.#longest = longest
  }

  /** Makes a call when its turn has come. */
  run<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const start = () => {
        const turn = new Turn(this, this.#longest)
        const onAnswer = (answer: T) => {
          turn.end()
          resolve(answer)
        }
        const onError = (error: unknown) => {
          turn.end()
          reject(error)
        }
        call().then(onAnswer, onError)
      }
      if (this.#running < this.#most) {
        this.#running++
        start()
      } else this.#waiting.add(start)
    })
  }

  /** Called once for each turn. */
  onEnd(): void {
    for (const start of this.#waiting) {
      this.#waiting.delete(start)
      start()
      return
    }
    this.#running--
  }
}

function endTurn(turn: Turn): void {
  turn.end()
}

class Turn {
  readonly #turns: CallTurns
  readonly #deadline: Deadline<Turn>
  #isOver = false

  constructor(turns: CallTurns, longest: number) {
    this.#turns = turns
    this.#deadline = new Deadline<Turn>(longest, endTurn, this, false)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#deadline.clear()
    this.#turns.onEnd()
  }
}
