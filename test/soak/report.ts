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

/** What upstreams and clients have counted: sums over all streams. */
export type WorldReport = Readonly<Record<(typeof fields)[number], number>> & {
  /** Every stream that could be was read to its end, and no report follows. */
  readonly final: boolean
}

/** Whether what came from another process is a report. */
export function isReport(value: unknown): value is WorldReport {
  if (typeof value !== 'object' || value === null) return false
  return (
    typeof Reflect.get(value, 'final') === 'boolean' &&
    fields.every((field) => typeof Reflect.get(value, field) === 'number')
  )
}
