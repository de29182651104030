import { type DropKind, dropKinds } from './drop-plan.ts'
import type { Gateway } from './gateway.ts'
import type { Ledger } from './ledger.ts'
import type { UnreliableUpstream } from './unreliable-upstream.ts'

const kindLabels: Readonly<Record<DropKind, string>> = {
  end: 'clean end',
  reset: 'connection reset',
  silence: 'half-open silence',
  unavailable: '503 for a while',
  refused: 'connections refused',
  cut: 'cut within an event',
  replay: 'events replayed',
}

/** The parts of a run that progress lines and the final table show. */
export interface Run {
  readonly upstream: UnreliableUpstream
  readonly gateway: Gateway
  readonly ledger: Ledger
  /** The number of events in the whole stream. */
  readonly events: number
}

/** Shows the progress until the returned function is called: in one line on a terminal, otherwise one line per second. */
export function showProgress(run: Run, output: NodeJS.WriteStream): () => void {
  const show = () => {
    const line = progressOf(run)
    output.write(output.isTTY ? `\r${line}\x1b[K` : `${line}\n`)
  }
  const timer = setInterval(show, output.isTTY ? 100 : 1000)
  return () => {
    clearInterval(timer)
    if (output.isTTY) output.write('\r\x1b[K')
  }
}

function progressOf({ upstream, gateway, ledger, events }: Run): string {
  return [
    `delivered ${ledger.delivered}/${events}`,
    `drops ${totalOf(upstream.drops)}`,
    `reconnects ${gateway.reconnects}`,
    gateway.state,
  ].join('  ')
}

type Row = readonly [label: string, value: number | string, unit?: string]

/** The final table. */
export function tableOf(
  { upstream, gateway, ledger, events }: Run,
  longestPause: number,
  duration: number,
): string {
  return formatted([
    ['events sent', upstream.sent],
    ['  sent again', upstream.sentAgain],
    ['delivered', ledger.delivered],
    ['lost', ledger.lost(events)],
    ['twice', ledger.twice],
    ['out of order', ledger.outOfOrder],
    ['damaged', ledger.damaged],
    ['drops', totalOf(upstream.drops)],
    ...dropKinds.map((kind): Row => [`  ${kindLabels[kind]}`, upstream.drops[kind]]),
    ['reconnects', gateway.reconnects],
    ['client connections', gateway.connections],
    ['longest pause', Math.round(longestPause), 'ms'],
    ['time', (duration / 1000).toFixed(1), 's'],
  ])
}

function formatted(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(([label]) => label.length))
  return rows
    .map(([label, value, unit]) =>
      `${label.padEnd(width)} ${String(value).padStart(8)} ${unit ?? ''}`.trimEnd(),
    )
    .join('\n')
}

function totalOf(drops: UnreliableUpstream['drops']): number {
  return dropKinds.reduce((total, kind) => total + drops[kind], 0)
}
