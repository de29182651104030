import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { MakeProgram } from './program.ts'

/** HAProxy with one thread; without `http-no-delay` it joins small writes. */
const haproxy: MakeProgram = (upstream, port, folder) => {
  const file = path.join(folder, 'haproxy.cfg')
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 9500
defaults
  mode http
  option http-no-delay
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:${port} backlog 16384
  default_backend events
backend events
  server events ${upstream.host}
`,
  )
  return { file: 'haproxy', args: ['-db', '-q', '-f', file] }
}

export default haproxy
