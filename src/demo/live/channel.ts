import { deserialize, serialize } from 'node:v8'
import type { Link } from './store-link.ts'

/** Everything that goes between the demonstration's process and one of its gateway processes. */
interface Frame {
  readonly to: 'store' | 'control'
  readonly bytes: Uint8Array
}

/** The end of a channel of `child_process.fork` in either process. */
export interface End {
  send(message: Uint8Array, callback: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: unknown) => void): unknown
}

/** Typed messages, and those of the store, over one channel. */
export class ProcessChannel<Sent, Received> {
  readonly #end: End
  #receiveStore: (bytes: Uint8Array) => void = () => {}

  /** @param receive - Called with each message of the other end, which is the same program and sends no other. */
  constructor(end: End, receive: (message: Received) => void) {
    this.#end = end
    end.on('message', (message) => {
      if (!(message instanceof Uint8Array)) return
      const { to, bytes }: Frame = deserialize(message)
      if (to === 'store') this.#receiveStore(bytes)
      else receive(deserialize(bytes))
    })
  }

  /** The link of the store, whose messages are passed on unread. */
  readonly store: Link = {
    send: (bytes) => this.#send({ to: 'store', bytes }),
    listen: (receive) => {
      this.#receiveStore = receive
    },
  }

  send(message: Sent): void {
    this.#send({ to: 'control', bytes: serialize(message) })
  }

  #send(frame: Frame): void {
    // A process that was killed is noticed by its exit.
    this.#end.send(serialize(frame), () => {})
  }
}
