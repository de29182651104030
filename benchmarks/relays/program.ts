import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** How a proxy that is no Node program is started: with its configuration in a folder of its own. */
export type MakeProgram = (
  upstream: URL,
  port: number,
  folder: string,
) => { readonly file: string; readonly args: readonly string[] }

/** What such a program has used so far, as Node says it of itself. */
export interface ProgramUsage {
  readonly cpu: NodeJS.CpuUsage
  readonly memory: NodeJS.MemoryUsage
  readonly peak: number
}

const pageSize = 4096

/** Whether a program is on this machine. Its use of the processor is read from /proc. */
export function isInstalled(file: string): boolean {
  return process.platform === 'linux' && spawnSync('which', [file]).status === 0
}

/** A proxy of one process and one thread, which ends with this process. */
export class RelayProgram {
  readonly port: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  static async start(make: MakeProgram, upstream: URL): Promise<RelayProgram> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'bench-program-'))
    const port = await freePort()
    const { file, args } = make(upstream, port, folder)
    const child = spawn(file, args, { stdio: ['ignore', 2, 2] })
    process.on('exit', () => {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    })
    child.on('exit', (code) => {
      throw new Error(`${file} ended with code ${code}`)
    })
    while (!(await isListening(port))) await sleep(20)
    return new RelayProgram(child, port)
  }

  get usage(): ProgramUsage {
    const of = (name: string) => readFileSync(`/proc/${this.#child.pid}/${name}`, 'utf8')
    // Nanoseconds on a processor, in the program and in the kernel together.
    const user = Number(of('schedstat').split(' ')[0]) / 1000
    const rss = Number(of('statm').split(' ')[1]) * pageSize
    const peak = Number(/VmHWM:\s*(\d+)/.exec(of('status'))?.[1]) * 1024
    const none = { heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 }
    return { cpu: { user, system: 0 }, memory: { ...none, rss }, peak }
  }
}

/** A port that was free a moment ago: the programs do not choose one themselves. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
