import { lostAfter } from './tally.ts'

/** The time that is shown, in milliseconds: the width of the drawing. */
const shown = 20_000
/** Where the bars stand, how high the highest is, and how long a delay it shows. */
const ground = 80
const highest = 74
const longest = 3000
const barWidth = 130
/** An event with a longer delay is late. Milliseconds. */
const lateAfter = 250

type BarKind = 'pending' | 'arrived' | 'late' | 'lost'

interface Bar {
  readonly element: SVGRectElement
  readonly at: number
  kind: BarKind
}

function make<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string | number>>,
): SVGElementTagNameMap[Name] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  return element
}

/**
 * Draws the events of the last 20 seconds: each as a bar at the time when it was published. The bar is as high as the event was
 * late. One unit of the drawing's width is a millisecond.
 */
export class Timeline {
  readonly #start: number
  readonly #moving = make('g', {})
  readonly #bars = new Map<number, Bar>()
  readonly #marks: { readonly element: SVGElement; readonly at: number }[] = []

  constructor(svg: SVGSVGElement, now: number) {
    this.#start = now
    for (const seconds of [1, 2, 3]) {
      const y = ground - (highest * seconds * 1000) / longest
      svg.append(make('line', { class: 'grid', x1: 0, x2: shown, y1: y, y2: y }))
    }
    svg.append(make('line', { class: 'grid', x1: 0, x2: shown, y1: ground, y2: ground }), this.#moving)
  }

  publish(serial: number, at: number): void {
    if (!this.#bars.has(serial)) this.#bar(serial, at)
  }

  arrive(serial: number, at: number, now: number): void {
    const bar = this.#bars.get(serial) ?? this.#bar(serial, at)
    const delay = Math.max(0, now - bar.at)
    const height = Math.max(10, (highest * Math.min(delay, longest)) / longest)
    set(bar, delay > lateAfter ? 'late' : 'arrived', ground - height, height)
  }

  /** Marks an event that has arrived again. */
  repeat(serial: number, at: number): void {
    const bar = this.#bars.get(serial)
    if (!bar) return
    const element = make('rect', { class: 'twice', x: at - this.#start, y: 0, width: barWidth, height: 8 })
    this.#mark(element, bar.at)
  }

  fault(at: number): void {
    const x = at - this.#start
    this.#mark(make('line', { class: 'fault', x1: x, x2: x, y1: 0, y2: 100 }), at)
  }

  /** Moves the drawing to a time. */
  show(now: number): void {
    for (const [serial, bar] of this.#bars) {
      if (now - bar.at > shown + 1000) {
        bar.element.remove()
        this.#bars.delete(serial)
      } else if (bar.kind === 'pending' && now - bar.at > lostAfter) {
        set(bar, 'lost', ground, 14)
      }
    }
    while (this.#marks[0] && now - this.#marks[0].at > shown + 1000) this.#marks.shift()?.element.remove()
    this.#moving.setAttribute('transform', `translate(${(shown - (now - this.#start)).toFixed(1)})`)
  }

  #bar(serial: number, at: number): Bar {
    const element = make('rect', { x: at - this.#start, width: barWidth })
    const bar: Bar = { element, at, kind: 'pending' }
    set(bar, 'pending', ground - 5, 5)
    this.#bars.set(serial, bar)
    this.#moving.append(element)
    return bar
  }

  #mark(element: SVGElement, at: number): void {
    this.#marks.push({ element, at })
    this.#moving.append(element)
  }
}

function set(bar: Bar, kind: BarKind, y: number, height: number): void {
  bar.kind = kind
  bar.element.setAttribute('class', kind)
  bar.element.setAttribute('y', String(y))
  bar.element.setAttribute('height', String(height))
}
