import http, { type RequestListener, ServerResponse } from 'node:http'
import httpProxy from 'http-proxy'
import { fail } from './head.ts'

export default function relay(upstream: URL): RequestListener {
  const agent = new http.Agent({ keepAlive: true })
  const proxy = httpProxy.createProxyServer({ target: upstream.href, ignorePath: true, agent })
  // It waits for the request's `aborted`, which no longer comes once the request has been read.
  proxy.on('proxyReq', (proxyReq, _, res) => res.once('close', () => proxyReq.destroy()))
  proxy.on('error', (_, __, res) => {
    if (res instanceof ServerResponse) fail(res)
  })
  return (req, res) => proxy.web(req, res)
}
