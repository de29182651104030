import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { certificate } from '../test/support/certificate.ts'

/** Receives the parts of a response. */
export interface Listener {
  head(statusCode: number): void
  data(chunk: Buffer): void
  end(): void
  fail(error: Error): void
}

/** A request that can be ended at once. */
export interface Request {
  destroy(): void
}

export type Get = (url: string, headers: Record<string, string>, listener: Listener) => Request

const ca = certificate.cert

/** Sends requests over a protocol, each on a connection of its own. */
export function getFor(protocol: string): Get {
  switch (protocol) {
    case 'http':
      return overHttp1(http, new http.Agent())
    case 'https':
      return overHttp1(https, new https.Agent({ ca }))
    case 'http2':
      return overHttp2
  }
  throw new Error(`no protocol "${protocol}"`)
}

function overHttp1(protocol: typeof http | typeof https, agent: http.Agent): Get {
  return (url, headers, listener) => {
    const request = protocol.get(url, { agent, headers })
    request.on('error', (error) => listener.fail(error))
    request.on('response', (response) => {
      response.on('error', (error) => listener.fail(error))
      response.on('end', () => listener.end())
      listener.head(response.statusCode ?? 0)
      response.on('data', (chunk: Buffer) => listener.data(chunk))
    })
    return request
  }
}

function overHttp2(url: string, headers: Record<string, string>, listener: Listener): Request {
  const { origin, pathname } = new URL(url)
  const session = http2.connect(origin, { ca })
  session.on('error', (error) => listener.fail(error))
  const request = session.request({ ':path': pathname, ...headers })
  request.on('error', (error) => listener.fail(error))
  request.on('response', (head) => listener.head(head[':status'] ?? 0))
  request.on('end', () => listener.end())
  request.on('data', (chunk: Buffer) => listener.data(chunk))
  return session
}
