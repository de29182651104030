import type { RequestListener } from 'node:http'

/** Makes a request listener that relays the event stream at a URL, as a user of one package would write it. */
export type MakeRelay = (upstream: URL) => RequestListener | Promise<RequestListener>

interface Kind {
  /**
   * Whether it passes bytes on, or takes events apart and writes them anew; `resilient` is the library itself; `least` does
   * the least that there is to do, and only for one workload; `shared` serves one upstream to many clients, or is what such
   * kinds are compared with.
   */
  readonly family: 'bytes' | 'client library' | 'resilient' | 'least' | 'shared'
  /** A relay process loads the packages of its own kind only. */
  load(): Promise<{ default: MakeRelay }>
}

/** Every kind of relay; the first one is what most others are compared with. */
export const kinds = {
  pipeline: { family: 'bytes', load: () => import('./pipeline.ts') },
  'http-proxy': { family: 'bytes', load: () => import('./http-proxy.ts') },
  'http-proxy-3': { family: 'bytes', load: () => import('./http-proxy-3.ts') },
  'reply-from': { family: 'bytes', load: () => import('./reply-from.ts') },
  'undici-stream': { family: 'bytes', load: () => import('./undici-stream.ts') },
  fetch: { family: 'bytes', load: () => import('./fetch.ts') },
  eventsource: { family: 'client library', load: () => import('./eventsource.ts') },
  'eventsource-client': { family: 'client library', load: () => import('./eventsource-client.ts') },
  'launchdarkly-eventsource': {
    family: 'client library',
    load: () => import('./launchdarkly-eventsource.ts'),
  },
  'resilient-sse': { family: 'resilient', load: () => import('./resilient-sse.ts') },
  'resilient-sse-source': { family: 'resilient', load: () => import('./resilient-sse-source.ts') },
  'resilient-sse-composed': { family: 'resilient', load: () => import('./resilient-sse-composed.ts') },
  'resilient-sse-proxy': { family: 'resilient', load: () => import('./resilient-sse-proxy.ts') },
  'reconnecting-pipe': { family: 'least', load: () => import('./reconnecting-pipe.ts') },
  loop: { family: 'shared', load: () => import('./loop.ts') },
  file: { family: 'shared', load: () => import('./file.ts') },
  'better-sse': { family: 'shared', load: () => import('./better-sse.ts') },
  'resilient-sse-hub': { family: 'shared', load: () => import('./resilient-sse-hub.ts') },
  'resilient-sse-completion': { family: 'shared', load: () => import('./resilient-sse-completion.ts') },
  'resilient-sse-session': { family: 'shared', load: () => import('./resilient-sse-session.ts') },
} as const satisfies Record<string, Kind>

export type KindName = keyof typeof kinds

export const bare: KindName = 'pipeline'

export function isKind(name: string): name is KindName {
  return Object.hasOwn(kinds, name)
}

export const kindNames: readonly KindName[] = Object.keys(kinds).filter(isKind)
