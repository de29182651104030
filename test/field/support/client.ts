import { EventSource } from 'eventsource'
import { createEventSource } from 'eventsource-client'
import { type Arrival, Ledger } from '../../support/ledger.ts'
import { until } from '../../support/until.ts'

/** What a client of a numbered upstream has got so far. */
export interface Client {
  readonly name: string
  /** Different events that arrived. */
  readonly delivered: number
  /** How often the client has told that its connection was opened, or lost. */
  readonly signs: number
  /** Whether it has given up. */
  readonly isOver: boolean
  /** What is wrong with what it got, of as many events; undefined when each came once and in order. */
  faultOf(events: number): string | undefined
}

export class ClientRecord implements Client {
  readonly name: string
  signs = 0
  isOver = false
  #empty = 0
  readonly #ledger = new Ledger()

  constructor(name: string) {
    this.name = name
  }

  get delivered(): number {
    return this.#ledger.delivered
  }

  note(arrival: Arrival): void {
    if (arrival.data === '') this.#empty++
    else this.#ledger.note(arrival)
  }

  sign(isOver: boolean): void {
    this.signs++
    this.isOver ||= isOver
  }

  faultOf(events: number): string | undefined {
    const { twice, outOfOrder, damaged } = this.#ledger
    const faults = {
      'gave up': this.isOver,
      lost: this.#ledger.lost(events),
      twice,
      'out of order': outOfOrder,
      damaged,
      'empty events': this.#empty,
    }
    const found = Object.entries(faults).filter(([, count]) => Number(count) > 0)
    return found.length === 0 ? undefined : `${this.name}: ${found.map((each) => each.join(' ')).join(', ')}`
  }
}

/** A client in this process, until it is disposed of. */
export type OwnClient = Client & Disposable

export function openEventSource(url: string): OwnClient {
  const record = new ClientRecord('eventsource')
  const source = new EventSource(url)
  source.onmessage = ({ lastEventId, data }) => record.note({ id: lastEventId, data })
  source.onopen = () => record.sign(false)
  source.onerror = () => record.sign(source.readyState === EventSource.CLOSED)
  return Object.assign(record, { [Symbol.dispose]: () => source.close() })
}

export function openEventSourceClient(url: string): OwnClient {
  const record = new ClientRecord('eventsource-client')
  const source = createEventSource({
    url,
    onMessage: (event) => record.note(event),
    onConnect: () => record.sign(false),
    onScheduleReconnect: () => record.sign(false),
  })
  return Object.assign(record, { [Symbol.dispose]: () => source.close() })
}

/** Clients wait for seconds before they come back, and longer each time where a server is away. */
const patience = 40_000

const all = (clients: readonly Client[], condition: (client: Client) => boolean) =>
  until(
    () => clients.every((client) => client.isOver || condition(client)),
    () =>
      clients.map(({ name, delivered, signs }) => `${name}: ${delivered} events, ${signs} signs`).join('; '),
    patience,
  )

/** Waits until each has got as many events, or given up. */
export const haveGot = (clients: readonly Client[], events: number) =>
  all(clients, ({ delivered }) => delivered >= events)

/** Waits until each has told so many times that its connection was opened or lost, or has given up. */
export const haveNoticed = (clients: readonly Client[], times: number) =>
  all(clients, ({ signs }) => signs >= times)

export const faultsOf = (clients: readonly Client[], events: number) =>
  clients.flatMap((client) => client.faultOf(events) ?? [])
