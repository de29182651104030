// Runs in Chromium. What the test exposes to the page is declared here; the bundle's only export is a global.
import { EventStreamContentType, fetchEventSource } from '@microsoft/fetch-event-source'

declare function note(kind: string, id: string, data: string): Promise<void>
declare function sign(kind: string, isOver: boolean): Promise<void>

const events = '/events'

function browser(): void {
  const kind = "Chromium's EventSource"
  const source = new EventSource(events)
  source.onmessage = ({ lastEventId, data }) => void note(kind, lastEventId, data)
  source.onopen = () => void sign(kind, false)
  source.onerror = () => void sign(kind, source.readyState === EventSource.CLOSED)
}

/** As its README says for a stream that is to go on: an end is thrown, and what is thrown is retried. */
function fetching(): void {
  const kind = 'fetch-event-source'
  void fetchEventSource(events, {
    onmessage: ({ id, data }) => void note(kind, id, data),
    onopen: async ({ headers }) => {
      if (!headers.get('content-type')?.startsWith(EventStreamContentType)) throw new Error('no event stream')
      void sign(kind, false)
    },
    onclose: () => {
      throw new Error('closed')
    },
    onerror: () => void sign(kind, false),
  })
}

Object.assign(globalThis, { openClients: () => [browser(), fetching()] })
