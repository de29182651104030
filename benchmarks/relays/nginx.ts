import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { MakeProgram } from './program.ts'

/** nginx as its documentation sets it up for event streams: HTTP/1.1 with keep-alive, and no buffering. */
const nginx: MakeProgram = (upstream, port, folder) => {
  const file = path.join(folder, 'nginx.conf')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    file,
    `daemon off;
master_process off;
pid ${folder}/pid;
error_log stderr error;
events { worker_connections 19000; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  upstream events { server ${upstream.host}; keepalive 100; }
  server {
    listen 127.0.0.1:${port} backlog=16384;
    location / {
      proxy_pass http://events;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }
  }
}
`,
  )
  return { file: 'nginx', args: ['-c', file, '-p', folder] }
}

export default nginx
