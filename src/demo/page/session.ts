import type { Status } from '../messages.ts'
import { find, type Mood, onUse, say, sayState, setAvailable } from './elements.ts'
import type { Ask } from './requests.ts'

/** Reads the answer of the model, which goes on when no page reads it. */
export class Session {
  readonly #ask: Ask
  readonly #state = find('#session-state', HTMLElement)
  readonly #text = find('#answer', HTMLElement)
  readonly #figures = find('#session-figures', HTMLElement)
  readonly #tab = find('#tab', HTMLAnchorElement)
  readonly #buttons = {
    ask: find('#ask', HTMLButtonElement),
    toggle: find('#toggle', HTMLButtonElement),
    stored: find('#stored', HTMLButtonElement),
    kill: find('#kill-owner', HTMLButtonElement),
  }
  #address = ''
  #name = ''
  #source: EventSource | undefined
  #lastEventId = ''
  /** The words that were read. */
  #words = 0
  /** Whether the answer was read to its end, which may be a failure. */
  #isOver = false
  #hasOwner = false

  constructor(ask: Ask) {
    this.#ask = ask
    const { ask: start, toggle, stored, kill } = this.#buttons
    onUse(start, () => void this.#start())
    onUse(toggle, () => (this.#source ? this.#leave() : this.#read()))
    onUse(stored, () => this.open(this.#name))
    onUse(kill, () => void this.#killOwner())
  }

  /** Shows the state of the sessions that the server has sent. */
  update({ addresses, sessions }: Status): void {
    this.#address = addresses.sessions
    const session = sessions.find(({ name }) => name === this.#name)
    this.#hasOwner = session?.owner !== undefined
    if (session) {
      const { owner, words, requests } = session
      const reader = owner === undefined ? 'No process reads it now' : `${owner} reads it`
      const times = requests === 1 ? 'once' : `${requests} times`
      say(this.#figures, `The model was asked ${times} and has sent ${words} words. ${reader}.`)
    }
    this.#show()
  }

  /** Reads an answer from its first word on. */
  open(name: string): void {
    this.#name = name
    this.#lastEventId = ''
    this.#words = 0
    this.#isOver = false
    this.#text.textContent = ''
    this.#tab.href = `/#${name}`
    this.#tab.hidden = false
    this.#read()
  }

  async #start(): Promise<void> {
    sayState(this.#state, 'Asking', 'plain')
    const { status, text } = await this.#ask('/sessions')
    if (status === 200) this.open(text)
    else sayState(this.#state, 'Not asked: the demonstration does not answer', 'lost')
  }

  async #killOwner(): Promise<void> {
    const { status } = await this.#ask('/sessions/owner/kill')
    if (status === 409)
      sayState(this.#state, 'Nobody owns the latest answer: it is complete, or has failed', 'plain')
    else if (!this.#isOver)
      sayState(this.#state, 'The owner was killed. Waiting for its lease to end', 'late')
  }

  /** Reads on behind the last word that was read. */
  #read(): void {
    this.#source?.close()
    // An EventSource that is made anew sends no id by itself.
    const query = this.#lastEventId === '' ? '' : `?lastEventId=${encodeURIComponent(this.#lastEventId)}`
    const source = new EventSource(`${this.#address}${this.#name}${query}`)
    this.#source = source
    sayState(this.#state, 'Connecting', 'plain')
    source.onopen = () => sayState(this.#state, 'Reading', 'fine')
    source.onmessage = ({ data, lastEventId }) => {
      this.#lastEventId = lastEventId
      if (data === '[DONE]') return this.#end(`Complete: ${this.#words} words`, 'fine')
      const word: unknown = JSON.parse(data)
      this.#text.append(String(word))
      this.#words++
    }
    source.addEventListener('failed', ({ data }) => {
      this.#end(`Failed after ${this.#words} words, which are kept: ${data}`, 'lost')
    })
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.#end('No longer kept, or never asked for', 'lost')
      else sayState(this.#state, 'Connection lost, the browser connects again', 'late')
    }
    this.#show()
  }

  #leave(): void {
    this.#source?.close()
    this.#source = undefined
    sayState(this.#state, 'The reader is closed, and the answer goes on', 'plain')
    this.#show()
  }

  #end(text: string, mood: Mood): void {
    this.#source?.close()
    this.#source = undefined
    this.#isOver = true
    sayState(this.#state, text, mood)
    this.#show()
  }

  #show(): void {
    const { toggle, stored, kill } = this.#buttons
    say(toggle, this.#source || this.#name === '' ? 'Close the reader' : 'Open the reader again')
    setAvailable(toggle, this.#name !== '' && !this.#isOver)
    setAvailable(stored, this.#name !== '')
    setAvailable(kill, this.#hasOwner)
  }
}
