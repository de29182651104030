import {
  createResilientSseSource,
  type ResilientSseSource,
  type SourceOptions,
  type UpstreamFactory,
} from '../../src/index.ts'
import { lastIs } from './events.ts'
import { itemsOf } from './model.ts'

/** A source in one of the modes. */
export interface ModeSource extends ResilientSseSource {
  /** The data of the event after which the reader stops; undefined when the source itself ends. */
  readonly stopsAt: string | undefined
}

/** Options of a source, without its mode. */
export interface ModeOptions extends Omit<SourceOptions, 'objectMode'> {
  /** The data of the last event: after this event the source ends, or its reader stops. */
  readonly last?: string
}

/** A way in which events pass through a source. */
export interface Mode {
  readonly name: string
  open(factory: UpstreamFactory, options: ModeOptions): ModeSource
}

function modeOf(
  name: string,
  { objectMode, readsEvents }: { objectMode: boolean; readsEvents: boolean },
): Mode {
  return {
    name,
    open(factory, { last, ...options }) {
      // `isTerminal` makes the source parse every event. To keep events unparsed, the reader stops instead.
      const isTerminal = readsEvents && last !== undefined ? { isTerminal: lastIs(last) } : {}
      const source = createResilientSseSource(factory, { ...options, ...isTerminal, objectMode })
      return Object.assign(source, { stopsAt: readsEvents ? undefined : last })
    },
  }
}

/** The modes in which the source parses each event. */
export const readingModes: readonly Mode[] = [
  modeOf('object mode', { objectMode: true, readsEvents: true }),
  modeOf('byte mode', { objectMode: false, readsEvents: true }),
]

const allModes: readonly Mode[] = [
  ...readingModes,
  modeOf('byte mode, events unread', { objectMode: false, readsEvents: false }),
]

/** Runs the same tests in each mode. */
export function inEachMode(title: string, body: (mode: Mode) => void, modes = allModes): void {
  for (const mode of modes) describe(`${title}, in ${mode.name}`, () => body(mode))
}

/** The data of the events that a source yields, in any mode, and the source's error. */
export async function outcomeOf(source: ModeSource) {
  let data: (string | undefined)[] = []
  let bytes = Buffer.alloc(0)
  try {
    for await (const chunk of source) {
      if (Buffer.isBuffer(chunk)) {
        bytes = Buffer.concat([bytes, chunk])
        data = itemsOf(bytes).flatMap((item) => ('block' in item ? [item.block.data] : []))
      } else {
        data.push(chunk.data)
      }
      if (source.stopsAt !== undefined && data.at(-1) === source.stopsAt) break
    }
    return { data, error: undefined }
  } catch (error) {
    return { data, error }
  }
}

/** The data of the events that a source yields, in any mode. */
export async function dataOf(source: ModeSource): Promise<(string | undefined)[]> {
  const { data, error } = await outcomeOf(source)
  if (error) throw error
  return data
}
