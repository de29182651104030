import type { Published } from '../messages.ts'
import { find, type Mood, now, say, sayState } from './elements.ts'
import { Tally } from './tally.ts'
import { Timeline } from './timeline.ts'

/** So long after its latest event a stream is silent. The upstream sends an event each 200 ms. */
const silentAfter = 1000

const parts = ['received', 'lost', 'twice', 'reconnects', 'latency', 'longest'] as const

/** One client of the upstream: an EventSource, what has arrived there, and what the page shows of it. */
export class Lane {
  readonly #tally = new Tally()
  readonly #timeline: Timeline
  readonly #state: HTMLElement
  readonly #figures: Readonly<Record<(typeof parts)[number], HTMLElement>>
  /** What the page says of a stream that is silent although its connection is open. */
  readonly #whenSilent: (seconds: number) => string
  #source: EventSource | undefined
  #opens = 0
  #latest = 0

  constructor(root: HTMLElement, whenSilent: (seconds: number) => string) {
    const part = (name: string) => find(`[data-part="${name}"]`, HTMLElement, root)
    this.#timeline = new Timeline(find('svg', SVGSVGElement, root), now())
    this.#state = part('state')
    this.#figures = {
      received: part('received'),
      lost: part('lost'),
      twice: part('twice'),
      reconnects: part('reconnects'),
      latency: part('latency'),
      longest: part('longest'),
    }
    this.#whenSilent = whenSilent
  }

  /** Opens the stream, anew if it was open before. */
  open(url: string): void {
    this.#source?.close()
    const source = new EventSource(url)
    this.#source = source
    source.onopen = () => {
      this.#opens++
      this.#latest = now()
    }
    source.onmessage = ({ data }) => {
      const { serial, at }: Published = JSON.parse(data)
      this.#arrive(serial, at)
    }
  }

  publish({ serial, at }: Published): void {
    if (this.#tally.publish(serial, at)) this.#timeline.publish(serial, at)
  }

  fault(at: number): void {
    this.#timeline.fault(at)
  }

  /** Moves the drawing on. */
  draw(): void {
    this.#timeline.show(now())
  }

  /** Shows the figures. */
  count(): void {
    const { received, twice, latency, longest } = this.#tally
    const lost = this.#tally.lost(now())
    say(this.#figures.received, `${received}`)
    say(this.#figures.lost, `${lost}`)
    say(this.#figures.twice, `${twice}`)
    say(this.#figures.reconnects, `${Math.max(0, this.#opens - 1)}`)
    say(this.#figures.latency, latency === undefined ? '–' : duration(latency))
    say(this.#figures.longest, longest === undefined ? '–' : duration(longest))
    this.#figures.lost.classList.toggle('some', lost > 0)
    this.#figures.twice.classList.toggle('some', twice > 0)
    sayState(this.#state, ...this.#stateNow())
  }

  #stateNow(): [text: string, mood: Mood] {
    const state = this.#source?.readyState
    if (state === EventSource.CLOSED) {
      return ['Given up: a status other than 200 ends an EventSource for ever', 'lost']
    }
    if (state !== EventSource.OPEN)
      return [this.#opens === 0 ? 'Connecting' : 'The browser connects again', 'late']
    const silence = now() - this.#latest
    if (silence < silentAfter) return ['Receiving', 'fine']
    return [this.#whenSilent(Math.floor(silence / 1000)), silence > 5000 ? 'lost' : 'late']
  }

  #arrive(serial: number, at: number): void {
    const time = now()
    this.#latest = time
    if (this.#tally.arrive(serial, at, time)) this.#timeline.arrive(serial, at, time)
    else this.#timeline.repeat(serial, at)
  }
}

function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`
}
