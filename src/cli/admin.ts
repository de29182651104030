import http, { type ServerResponse } from 'node:http'
import { asError } from '../errors.ts'
import type { MetricsCollection } from '../metrics.ts'
import { type Gateway, pathOf } from './gateway.ts'

/** Serves the metrics, and the health checks for orchestrators. */
export async function createAdminServer(gateway: Gateway): Promise<http.Server> {
  const { collectMetrics } = await import('../metrics.ts')
  const metrics = await collectMetrics()
  return http.createServer((req, res) => {
    const path = pathOf(req)
    res.setHeader('cache-control', 'no-store')
    if (req.method !== 'GET' && req.method !== 'HEAD') reply(res, 405, 'method not allowed')
    else if (path === '/healthz') reply(res, 200, 'alive')
    else if (path === '/readyz')
      reply(res, gateway.draining ? 503 : 200, gateway.draining ? 'draining' : 'ready')
    else if (path === '/metrics') sendMetrics(res, metrics)
    else reply(res, 404, 'not found')
  })
}

function reply(res: ServerResponse, statusCode: number, text: string): void {
  res.writeHead(statusCode, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}

function sendMetrics(res: ServerResponse, { registry }: MetricsCollection): void {
  registry.metrics().then(
    (text) => res.writeHead(200, { 'content-type': registry.contentType }).end(text),
    (error: unknown) => reply(res, 500, asError(error).message),
  )
}
