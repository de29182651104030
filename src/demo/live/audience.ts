import type { ServerResponse } from 'node:http'
import type { Note, Published, Status } from '../messages.ts'

/** The shortest time between two events of the type `status`, in milliseconds. */
const interval = 100

interface Messages {
  readonly status: Status
  readonly published: Published
  readonly note: Note
}

/** The pages that receive the messages of the demonstration. */
export class Audience {
  readonly #responses = new Set<ServerResponse>()
  readonly #status: () => Status
  #due: NodeJS.Timeout | undefined

  constructor(status: () => Status) {
    this.#status = status
  }

  add(response: ServerResponse): void {
    this.#responses.add(response)
    response.on('error', () => {})
    response.on('close', () => this.#responses.delete(response))
    response.write(wireOf('status', this.#status()))
  }

  tell<Name extends keyof Messages>(name: Name, message: Messages[Name]): void {
    for (const response of this.#responses) response.write(wireOf(name, message))
  }

  /** Tells the status, which has changed, and may change again at once. */
  update(): void {
    this.#due ??= setTimeout(() => {
      this.#due = undefined
      this.tell('status', this.#status())
    }, interval)
  }

  /** Sends no more messages. The server closes the connections of the pages. */
  close(): void {
    clearTimeout(this.#due)
    this.#responses.clear()
  }
}

function wireOf(name: keyof Messages, message: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(message)}\n\n`
}
