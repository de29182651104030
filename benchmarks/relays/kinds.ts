import type { RequestListener } from 'node:http'
import { isInstalled, type MakeProgram } from './program.ts'

/**
 * Makes a request listener that relays the event stream at a URL, as a user of one package would write it. Kinds of the family
 * `fleet` also get the URL of a server of Redis.
 */
export type MakeRelay = (upstream: URL, redis: string) => RequestListener | Promise<RequestListener>

interface Kind {
  /**
   * Whether it passes bytes on, or takes events apart and writes them anew; `limit` is a proxy in C, which shows
   * what the machine allows; `resilient` is the library itself; `shared` serves
   * one upstream to many clients, or is what such kinds are compared with; `fleet` serves the same streams from several
   * processes, through Redis. Two take part in one workload each: a `variant` of
   * the library, and `least`, the least that there is to do.
   */
  readonly family:
    | 'bytes'
    | 'limit'
    | 'client library'
    | 'resilient'
    | 'variant'
    | 'least'
    | 'shared'
    | 'fleet'
  /** A relay process loads the packages of its own kind only. */
  readonly load?: () => Promise<{ default: MakeRelay }>
  /** Of a proxy that is no Node program. */
  readonly program?: { readonly file: string; readonly load: () => Promise<{ default: MakeProgram }> }
}

/** Every kind of relay; the first one is what most others are compared with. */
export const kinds = {
  pipeline: { family: 'bytes', load: () => import('./pipeline.ts') },
  'http-proxy': { family: 'bytes', load: () => import('./http-proxy.ts') },
  'http-proxy-3': { family: 'bytes', load: () => import('./http-proxy-3.ts') },
  'reply-from': { family: 'bytes', load: () => import('./reply-from.ts') },
  'undici-stream': { family: 'bytes', load: () => import('./undici-stream.ts') },
  fetch: { family: 'bytes', load: () => import('./fetch.ts') },
  nginx: { family: 'limit', program: { file: 'nginx', load: () => import('./nginx.ts') } },
  haproxy: { family: 'limit', program: { file: 'haproxy', load: () => import('./haproxy.ts') } },
  eventsource: { family: 'client library', load: () => import('./eventsource.ts') },
  'eventsource-client': { family: 'client library', load: () => import('./eventsource-client.ts') },
  'launchdarkly-eventsource': {
    family: 'client library',
    load: () => import('./launchdarkly-eventsource.ts'),
  },
  'resilient-sse': { family: 'resilient', load: () => import('./resilient-sse.ts') },
  'resilient-sse-source': { family: 'resilient', load: () => import('./resilient-sse-source.ts') },
  'resilient-sse-composed': { family: 'resilient', load: () => import('./resilient-sse-composed.ts') },
  'resilient-sse-transform': { family: 'variant', load: () => import('./resilient-sse-transform.ts') },
  'resilient-sse-proxy': { family: 'resilient', load: () => import('./resilient-sse-proxy.ts') },
  'reconnecting-pipe': { family: 'least', load: () => import('./reconnecting-pipe.ts') },
  loop: { family: 'shared', load: () => import('./loop.ts') },
  'loop-ids': { family: 'shared', load: () => import('./loop-ids.ts') },
  file: { family: 'shared', load: () => import('./file.ts') },
  'better-sse': { family: 'shared', load: () => import('./better-sse.ts') },
  'resilient-sse-hub': { family: 'shared', load: () => import('./resilient-sse-hub.ts') },
  'resilient-sse-completion': { family: 'shared', load: () => import('./resilient-sse-completion.ts') },
  'resilient-sse-session': { family: 'shared', load: () => import('./resilient-sse-session.ts') },
  'open-responses': { family: 'fleet', load: () => import('./open-responses.ts') },
  'resilient-sse-redis': { family: 'fleet', load: () => import('./resilient-sse-redis.ts') },
  'resilient-sse-ioredis': { family: 'fleet', load: () => import('./resilient-sse-ioredis.ts') },
  'resumable-stream': { family: 'fleet', load: () => import('./resumable-stream.ts') },
  'better-sse-redis': { family: 'fleet', load: () => import('./better-sse-redis.ts') },
} as const satisfies Record<string, Kind>

export type KindName = keyof typeof kinds

/** Whether a kind can take part on this machine. */
export function isHere(name: KindName): boolean {
  const { program }: Kind = kinds[name]
  return program === undefined || isInstalled(program.file)
}

export const bare: KindName = 'pipeline'

export function isKind(name: string): name is KindName {
  return Object.hasOwn(kinds, name)
}

export const kindNames: readonly KindName[] = Object.keys(kinds).filter(isKind)
