import type { Note } from '../messages.ts'
import { find } from './elements.ts'

const mostNotes = 12

/** Shows what has happened, the latest first. */
export class Log {
  readonly #list = find('#log', HTMLOListElement)

  add({ at, text, isFault }: Note): void {
    const item = document.createElement('li')
    const time = document.createElement('time')
    const date = new Date(at)
    time.dateTime = date.toISOString()
    time.textContent = date.toLocaleTimeString([], { hour12: false })
    const what = document.createElement('span')
    what.textContent = text
    what.classList.toggle('broken', isFault)
    item.append(time, what)
    this.#list.prepend(item)
    while (this.#list.children.length > mostNotes) this.#list.lastElementChild?.remove()
  }
}
