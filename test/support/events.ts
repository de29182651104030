import type { ResilientSseSource, SourceEventMap, SseEvent } from '../../src/index.ts'

/** All chunks of a source, and its error. */
export interface Outcome<Chunk> {
  readonly chunks: Chunk[]
  readonly error: unknown
}

/** Reads a source until it ends or fails. */
export async function drain<Chunk>(source: ResilientSseSource<Chunk>): Promise<Outcome<Chunk>> {
  const chunks: Chunk[] = []
  try {
    for await (const chunk of source) chunks.push(chunk)
    return { chunks, error: undefined }
  } catch (error) {
    return { chunks, error }
  }
}

/** The data of the events that a source yields. */
export async function dataOf(source: ResilientSseSource<SseEvent>): Promise<(string | undefined)[]> {
  const { chunks, error } = await drain(source)
  if (error) throw error
  return chunks.map(({ data }) => data)
}

/** The text that a source in byte mode yields. */
export async function textOf(source: ResilientSseSource<Buffer>): Promise<string> {
  const { chunks, error } = await drain(source)
  if (error) throw error
  return Buffer.concat(chunks).toString()
}

/** Ends a stream at the event whose data is `last`. */
export const lastIs = (last: string) => (event: SseEvent) => event.data === last

/** An event's text on the wire. */
export const wire = (id: number | string, data: string | number = `event ${id}`) =>
  `id: ${id}\ndata: ${data}\n\n`

/** Reconnects after 1 to 20 ms, without jitter. */
export const fast = { baseDelay: 1, minDelay: 1, maxDelay: 20, jitter: 0 } as const

/** Resolves with the argument of the next emission of an event. */
export function next<Chunk, E extends 'open' | 'drop' | 'retry' | 'gap' | 'duplicate' | 'comment'>(
  source: ResilientSseSource<Chunk>,
  event: E,
): Promise<SourceEventMap<Chunk>[E][0]> {
  return new Promise((resolve) => {
    source.once(event, (...[message]) => resolve(message))
  })
}
