import { randomUUID } from 'node:crypto'
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import {
  type EventStore,
  StreamableHTTPServerTransport,
} from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { JSONRPCMessage } from '@modelcontextprotocol/sdk/types.js'
import { serve, type TestServer } from '../../support/server.ts'

/** How many notifications of its progress the tool `count` sends. */
export const steps = 5

/** When a client of a stream that was closed on purpose is to come back, in milliseconds. */
export const retryInterval = 1234

/** An MCP server over Streamable HTTP, which accepts local hosts only. */
export interface FieldMcpServer extends AsyncDisposable {
  readonly server: TestServer
  /** Without a path. */
  readonly url: string
  /** Sends a notification to every session, over its standalone stream. */
  announce(text: string): Promise<void>
}

/** Events in the order in which they were sent; the SDK's example sorts by random ids. */
function storeEvents(): EventStore {
  const events: { readonly streamId: string; readonly message: JSONRPCMessage }[] = []
  return {
    async storeEvent(streamId, message) {
      return String(events.push({ streamId, message }))
    },
    async replayEventsAfter(lastEventId, { send }) {
      const last = Number(lastEventId)
      const streamId = events[last - 1]?.streamId ?? ''
      for (const [n, event] of events.entries()) {
        if (n >= last && event.streamId === streamId) await send(String(n + 1), event.message)
      }
      return streamId
    },
  }
}

function createServer(): McpServer {
  const server = new McpServer({ name: 'field', version: '1.0.0' }, { capabilities: { logging: {} } })
  server.registerTool('count', {}, async ({ _meta, sendNotification }) => {
    for (let progress = 1; progress <= steps; progress++) {
      const params = { progressToken: _meta?.progressToken ?? 0, progress, total: steps }
      await sendNotification({ method: 'notifications/progress', params })
    }
    return { content: [{ type: 'text', text: 'counted' }] }
  })
  server.registerTool('poll', {}, async ({ closeSSEStream }) => {
    closeSSEStream?.()
    return { content: [{ type: 'text', text: 'polled' }] }
  })
  return server
}

export async function startMcpServer(): Promise<FieldMcpServer> {
  const sessions = new Map<
    string,
    { readonly server: McpServer; readonly transport: StreamableHTTPServerTransport }
  >()
  const open = async () => {
    const server = createServer()
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: storeEvents(),
      retryInterval,
      onsessioninitialized: (id) => void sessions.set(id, { server, transport }),
    })
    await server.connect(transport)
    return transport
  }
  const app = createMcpExpressApp()
  app.all('/mcp', async (req, res) => {
    const { transport } = sessions.get(String(req.headers['mcp-session-id'])) ?? {}
    await (transport ?? (await open())).handleRequest(req, res, req.body)
  })
  const server = await serve(app)
  return {
    server,
    url: `http://127.0.0.1:${server.port}`,
    async announce(text) {
      for (const session of sessions.values()) {
        await session.server.sendLoggingMessage({ level: 'info', data: text })
      }
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions.values()) await session.server.close()
      await server.close()
    },
  }
}
