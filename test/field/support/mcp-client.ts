// The client that the conformance suite tests: one that talks to the suite's server through the command.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { startGateway } from './gateway.ts'

const url = new URL(process.argv[2] ?? '')
await using gateway = await startGateway('the command', url.origin)
const client = new Client({ name: 'field', version: '1.0.0' })
await client.connect(new StreamableHTTPClientTransport(new URL(url.pathname, gateway.url)))
const { tools } = await client.listTools()
for (const { name } of tools) await client.callTool({ name, arguments: {} })
await client.close()
