// The package has no types; these are of what the benchmarks use.
declare module 'launchdarkly-eventsource' {
  import type { Agent } from 'node:http'

  class EventSource {
    constructor(url: string, options: { readonly agent: Agent; readonly headers: Record<string, string> })
    on(type: 'open' | 'error', listener: () => void): this
    on(type: string, listener: (event: { lastEventId: string; data: string }) => void): this
    close(): void
  }
  const launchdarkly: { readonly EventSource: typeof EventSource }
  export default launchdarkly
}
