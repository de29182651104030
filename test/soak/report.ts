import { dropKinds } from './upstream.ts'

const fields = [
  'delivered',
  'lost',
  'twice',
  'outOfOrder',
  'damaged',
  'vanished',
  'broken',
  'unfinished',
  ...dropKinds,
] as const

/** The counts of upstreams and clients, summed over all streams. */
export type WorldReport = Readonly<Record<(typeof fields)[number], number>> & {
  /** True for the last report, after the streams were read to their end. */
  readonly final: boolean
}

/** Whether a message of the other process is a report. */
export function isReport(value: unknown): value is WorldReport {
  if (typeof value !== 'object' || value === null) return false
  return (
    typeof Reflect.get(value, 'final') === 'boolean' &&
    fields.every((field) => typeof Reflect.get(value, field) === 'number')
  )
}
