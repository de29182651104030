import http, { type RequestListener, ServerResponse } from 'node:http'
import { createProxyServer } from 'http-proxy-3'
import { fail } from './head.ts'

export default function relay(upstream: URL): RequestListener {
  const agent = new http.Agent({ keepAlive: true })
  const proxy = createProxyServer({ target: upstream, ignorePath: true, agent })
  proxy.on('error', (_, __, res) => {
    if (res instanceof ServerResponse) fail(res)
  })
  return (req, res) => {
    void proxy.web(req, res)
  }
}
