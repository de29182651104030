import { execFileSync } from 'node:child_process'
import os from 'node:os'

/** What the figures hold for. */
export function machine(): string {
  const [cpu] = os.cpus()
  const memory = Math.round(os.totalmem() / 2 ** 30)
  return [
    `Node ${process.version}`,
    `${os.type()} ${os.arch()}`,
    `${os.cpus().length} × ${cpu?.model ?? 'unknown CPU'}`,
    `${memory} GiB`,
  ].join(', ')
}

/** How many files a process may have open. */
function openFiles(): number {
  if (process.platform === 'win32') return Number.POSITIVE_INFINITY
  const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
  return limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit)
}

/** As many streams as are wanted, or as many as a relay, with two sockets for each, can have open. */
export function streamsThatFit(wanted: number): number {
  return Math.min(wanted, Math.floor((openFiles() - 200) / 2))
}
