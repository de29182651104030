// The client process, `client.ts [PROTOCOL]`: many clients of one server, each of whose events must arrive exactly once.
import { answerWith, now } from './answering.ts'
import { FeedChecker } from './feed-checker.ts'
import { askForJson } from './json-client.ts'
import { getFor, type Request } from './requests.ts'
import { EventChecker } from './wire.ts'

export interface OpenOptions {
  readonly url: string
  readonly streams: number
  readonly eventSize: number
  /** Of clients that share a stream: each of them is open with its head, and gets the events from then on. */
  readonly feed?: FeedOptions
}

export interface FeedOptions {
  /** Bytes of each event's data. */
  readonly dataSize: number
  readonly lastEventId?: string | undefined
  /** Each client asks for a stream of its own, whose path begins like this; it is open with its first event, and may end. */
  readonly ownPath?: string
  /** How many streams of their own there are: client n asks for stream n modulo this number. Default: one for each client. */
  readonly paths?: number
  /** The number of the first path. Default: 0. */
  readonly firstPath?: number
  /** Whether a client with a stream of its own is open with its head. */
  readonly openWithHead?: boolean
  /** Whether events hold the time at which they were sent. */
  readonly stamped?: boolean
  /** Whether all clients come at the same time, and not some after others. */
  readonly atOnce?: boolean
}

/** What has arrived on all streams since they were opened. */
export interface Arrived {
  readonly events: number
  readonly chunks: number
}

export type ClientQuestion =
  | ({ readonly ask: 'open' } & OpenOptions)
  | { readonly ask: 'arrived' | 'close' | 'mark' | 'latencies' | 'firstId' | 'ended' }
  | {
      readonly ask: 'json'
      readonly url: string
      readonly bytes: number
      readonly connections: number
      readonly seconds: number
    }
  | { readonly ask: 'count'; readonly events: number; readonly within: number }
  | { readonly ask: 'reach'; readonly last: number; readonly within: number }
  | { readonly ask: 'settle'; readonly sent: readonly number[]; readonly within: number }
  | { readonly ask: 'nextArrivals'; readonly within: number }

interface Stream {
  readonly request: Request
  readonly checker: EventChecker | FeedChecker
  /** When the first event since the last mark arrived. */
  nextAt: number | undefined
}

/** How many connections are being opened at a time. */
const opening = 200
const get = getFor(process.argv[2] ?? 'http')
let streams: Stream[] = []
let events = 0
let chunks = 0
let ended = 0
let fault: Error | undefined
/** How many events are waited for, and what is called when they are here. */
let awaited = Number.POSITIVE_INFINITY
let onAwaited: () => void = () => {}
/** How long each event since the latest mark has taken, in milliseconds. */
let latencies: number[] = []

function onSent(sentAt: number): void {
  latencies.push(now() - sentAt)
}

function openOne({ url, eventSize, feed }: OpenOptions, n: number): Promise<void> {
  const {
    ownPath,
    paths = Number.POSITIVE_INFINITY,
    firstPath = 0,
    lastEventId,
    openWithHead,
    stamped,
  } = feed ?? {}
  const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
  return new Promise((resolve, reject) => {
    const checker = feed
      ? new FeedChecker(feed.dataSize, stamped ? onSent : undefined)
      : new EventChecker(eventSize)
    const fail = (error: Error) => {
      // Closed by ourselves.
      if (!streams.includes(stream)) return
      fault ??= error
      reject(error)
    }
    const request = get(
      ownPath === undefined ? url : `${url}/${ownPath}-${(firstPath + n) % paths}`,
      headers,
      {
        fail,
        head: (statusCode) => {
          if (statusCode !== 200) fail(new Error(`a stream was answered with ${statusCode}`))
          if (openWithHead || (feed && ownPath === undefined)) resolve()
        },
        data: (chunk) => {
          try {
            const count = stream.checker.read(chunk)
            chunks++
            if (count === 0) return
            events += count
            if (events >= awaited) onAwaited()
            stream.nextAt ??= now()
            resolve()
          } catch (error) {
            fail(error instanceof Error ? error : new Error(String(error)))
            request.destroy()
          }
        },
        end: () => {
          if (ownPath === undefined) fail(new Error('a stream ended'))
          else ended++
        },
      },
    )
    const stream: Stream = { request, checker, nextAt: undefined }
    streams.push(stream)
  })
}

/** Opens them all; each has got its first event then, or its head. */
async function open(options: OpenOptions): Promise<void> {
  let opened = 0
  const openInTurn = async () => {
    while (opened < options.streams) await openOne(options, opened++)
  }
  const together = options.feed?.atOnce ? options.streams : opening
  await Promise.all(Array.from({ length: together }, openInTurn))
}

function close(): void {
  const old = streams
  streams = []
  events = 0
  chunks = 0
  ended = 0
  for (const { request } of old) request.destroy()
}

/** Waits until a condition holds, or for so many milliseconds. */
async function wait(holds: () => boolean, within: number, interval = 5): Promise<void> {
  const end = now() + within
  while (!holds()) {
    if (fault) throw fault
    if (now() > end) return
    await new Promise((resolve) => setTimeout(resolve, interval))
  }
}

/** Waits for so many events without a look at a clock, which would be a pause of the relay. */
function arrivalOf(count: number, within: number): Promise<void> {
  if (events >= count) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer)
      awaited = Number.POSITIVE_INFINITY
    }
    const timer = setTimeout(() => {
      settle()
      reject(fault ?? new Error(`${events} of ${count} events arrived`))
    }, within)
    awaited = count
    onAwaited = () => {
      settle()
      resolve()
    }
  })
}

/**
 * Waits until each stream of the upstream has arrived up to its last id. Which of them is whose is not known: a relay may
 * open its connections in any order.
 */
async function settle(sent: readonly number[], within: number): Promise<void> {
  const total = sent.reduce((sum, last) => sum + last, 0)
  // A client that has joined later has not had the first events.
  await wait(() => streams.reduce((sum, { checker }) => sum + checker.last, 0) >= total, within)
  const goals = [...sent].sort((a, b) => a - b)
  const arrived = streams.map(({ checker }) => checker.last).sort((a, b) => a - b)
  const wrong = goals.findIndex((goal, index) => goal !== arrived[index])
  if (wrong === -1 && goals.length === arrived.length) return
  throw new Error(
    `${total} events were sent on ${goals.length} streams, ${events} arrived on ${arrived.length}; ` +
      `one stream was sent up to ${goals[wrong]} and arrived up to ${arrived[wrong]}`,
  )
}

/** Waits until each client has got the events of a feed up to the last one. */
async function reach(last: number, within: number): Promise<void> {
  await wait(() => streams.every(({ checker }) => checker.last >= last), within, 1)
  const wrong = streams.find(({ checker }) => checker.last !== last)
  if (wrong) throw new Error(`a client got the events up to ${wrong.checker.last} instead of ${last}`)
}

function firstId(): string | undefined {
  const checker = streams[0]?.checker
  return checker instanceof FeedChecker ? checker.firstId : undefined
}

answerWith<ClientQuestion>(async (question) => {
  if (fault) throw fault
  switch (question.ask) {
    case 'open':
      return open(question)
    case 'arrived':
      return { events, chunks } satisfies Arrived
    case 'settle':
      return settle(question.sent, question.within)
    case 'json':
      return askForJson(question)
    case 'count':
      return arrivalOf(question.events, question.within)
    case 'reach':
      return reach(question.last, question.within)
    case 'firstId':
      return firstId()
    case 'ended':
      await wait(() => ended >= streams.length, 60_000)
      if (ended !== streams.length) throw new Error(`${ended} of ${streams.length} streams ended`)
      return
    case 'mark':
      for (const stream of streams) stream.nextAt = undefined
      latencies = []
      return
    case 'latencies':
      return latencies
    case 'nextArrivals':
      await wait(() => streams.every(({ nextAt }) => nextAt !== undefined), question.within)
      return streams.map(({ nextAt }) => nextAt ?? null)
    case 'close':
      return close()
  }
})
process.send?.({ ready: true })
