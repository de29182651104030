import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../support/server.ts'
import { pathOf } from './programs.ts'

/** An nginx in front of servers, the second of which gets what the first does not accept. */
export interface Nginx extends AsyncDisposable {
  readonly url: string
}

/** What nginx speaks to the servers behind it: 1.0 is its default. */
export type Version = '1.0' | '1.1'

/** What nginx's documentation says to set for connections that are kept alive. */
const http11 = 'proxy_http_version 1.1; proxy_set_header Connection "";'

function configOf(port: number, servers: readonly number[], version: Version): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {}
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${name};`).join('\n  ')}
  upstream gateway { ${servers.map((server) => `server 127.0.0.1:${server};`).join(' ')} }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://gateway; ${version === '1.1' ? http11 : ''} }
  }
}
`
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}

export async function startNginx(servers: readonly number[], version: Version): Promise<Nginx> {
  const folder = await mkdtemp(join(tmpdir(), 'nginx-'))
  // Its workers are another user's.
  await chmod(folder, 0o755)
  const port = await freePort()
  const config = join(folder, 'nginx.conf')
  await writeFile(config, configOf(port, servers, version))
  const child = spawn(pathOf('nginx'), ['-p', folder, '-c', config, '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const closed = once(child, 'close')
  while (!(await isListening(port))) {
    if (child.exitCode !== null) throw new Error(`nginx ended at its start: ${errors}`)
    await sleep(10)
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await closed
      await rm(folder, { recursive: true })
    },
  }
}
