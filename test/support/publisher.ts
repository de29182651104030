import type { ServerResponse } from 'node:http'
import { serve, stream, type TestServer } from './server.ts'
import { until } from './until.ts'

/** An upstream that numbers its events, keeps all of them, and resumes after the last event ID. */
export interface Publisher extends AsyncDisposable {
  readonly server: TestServer
  /** The open event streams. */
  readonly open: ReadonlySet<ServerResponse>
  /** Resolves when an event stream is open. */
  isOpen(): Promise<void>
  /** Publishes the next event. */
  publish(): void
  /** Ends the open streams. The text is written before; default: the last event of a completion. */
  end(last?: string): void
}

/** @param format - Writes the event of a number. */
export async function publisher(format: (n: number) => string): Promise<Publisher> {
  let latest = 0
  const open = new Set<ServerResponse>()
  const server = await serve((request, response) => {
    const after = Number(request.headers['last-event-id'] ?? 0)
    stream(response)
    open.add(response)
    response.on('close', () => open.delete(response))
    for (let n = after + 1; n <= latest; n++) response.write(format(n))
  })
  return {
    server,
    open,
    isOpen: () =>
      until(
        () => open.size > 0,
        () => 'the upstream is open',
      ),
    publish() {
      latest++
      for (const response of open) response.write(format(latest))
    },
    end(last = 'data: [DONE]\n\n') {
      for (const response of open) response.end(last)
    },
    [Symbol.asyncDispose]: server.close,
  }
}
