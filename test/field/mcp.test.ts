import { once } from 'node:events'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { expect } from 'chai'
import { startProcess } from '../support/child.ts'
import { until } from '../support/until.ts'
import { type Gateway, startGateway } from './support/gateway.ts'
import { type FieldMcpServer, retryInterval, startMcpServer, steps } from './support/mcp-server.ts'

/** A client that is connected through a gateway. */
async function connect({ url }: Gateway) {
  const client = new Client({ name: 'field', version: '1.0.0' })
  const notified: unknown[] = []
  client.setNotificationHandler(
    LoggingMessageNotificationSchema,
    ({ params }) => void notified.push(params.data),
  )
  let gets = 0
  const transport = new StreamableHTTPClientTransport(new URL('/mcp', url), {
    fetch: (input, init) => {
      if (init?.method === 'GET') gets++
      return fetch(input, init)
    },
  })
  await client.connect(transport)
  return {
    client,
    transport,
    notified,
    /** How often the client has asked for a standalone stream. */
    get gets() {
      return gets
    },
    [Symbol.asyncDispose]: () => client.close(),
  }
}

/** The requests for a standalone stream, or for the rest of one. */
const gets = ({ server }: FieldMcpServer) => server.requests.filter(({ method }) => method === 'GET')

/** What the MCP conformance suite says to a scenario: its exit status, and its report. */
async function conformance(...args: readonly string[]) {
  const suite = fileURLToPath(
    new URL('node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url),
  )
  const { code, out, err } = await startProcess([suite, ...args]).ended
  return { code, report: out + err }
}

describe("MCP's SDK, through the command", () => {
  it('gets the progress of a call and its result', async () => {
    await using upstream = await startMcpServer()
    await using gateway = await startGateway('the command', upstream.url)
    await using connected = await connect(gateway)
    const progress: number[] = []
    const onprogress = (each: { progress: number }) => void progress.push(each.progress)
    const result = await connected.client.callTool({ name: 'count' }, undefined, { onprogress })
    expect(result.content).to.deep.equal([{ type: 'text', text: 'counted' }])
    expect(progress).to.deep.equal(Array.from({ length: steps }, (_, n) => n + 1))
  })

  it('gets the result of a call whose stream the server closes on purpose', async () => {
    await using upstream = await startMcpServer()
    await using gateway = await startGateway('the command', upstream.url)
    await using connected = await connect(gateway)
    const result = await connected.client.callTool({ name: 'poll' })
    expect(result.content).to.deep.equal([{ type: 'text', text: 'polled' }])
  })

  it("gets the server's reconnection time in the answer to a POST", async () => {
    await using upstream = await startMcpServer()
    await using gateway = await startGateway('the command', upstream.url)
    await using connected = await connect(gateway)
    const asked = await fetch(new URL('/mcp', gateway.url), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-session-id': connected.transport.sessionId ?? '',
        'mcp-protocol-version': connected.transport.protocolVersion ?? '',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 'x', method: 'tools/call', params: { name: 'count' } }),
    })
    expect(await asked.text()).to.match(new RegExp(`^retry: ${retryInterval}$`, 'm'))
  })

  it('gets each notification once over a standalone stream that is cut', async () => {
    await using upstream = await startMcpServer()
    await using gateway = await startGateway('the command', upstream.url, { baseDelay: 50 })
    await using connected = await connect(gateway)
    await until(
      () => gets(upstream).length === 1,
      () => 'a standalone stream',
    )
    const got = (count: number) =>
      until(
        () => connected.notified.length >= count,
        () => `${count} notifications in ${connected.notified}`,
      )
    await upstream.announce('1')
    await got(1)
    gets(upstream)[0]?.socket.destroy()
    await upstream.announce('2')
    await until(
      () => gets(upstream).length === 2,
      () => 'the rest of the stream is asked for',
    )
    await upstream.announce('3')
    await got(3)
    expect(connected.notified).to.deep.equal(['1', '2', '3'])
    expect(gets(upstream)[1]?.headers['last-event-id']).to.be.a('string')
    // Not the client has come back, but the command.
    expect(connected.gets).to.equal(1)
  })

  it('keeps a server that checks the host safe from DNS rebinding', async () => {
    await using upstream = await startMcpServer()
    await using gateway = await startGateway('the command', upstream.url, { host: 'client' })
    const statusFor = async (host: string) => {
      const [response] = await once(
        request(new URL('/mcp', gateway.url), { headers: { host }, agent: false }).end(),
        'response',
      )
      await text(response)
      return response.statusCode
    }
    expect(await statusFor('evil.example.com')).to.equal(403)
    // Accepted as a host; what is missing is a session.
    expect(await statusFor(`localhost:${gateway.port}`)).to.equal(406)
  })
})

describe("MCP's conformance suite, through the command", () => {
  it('passes sse-retry', async () => {
    const client = fileURLToPath(new URL('support/mcp-client.ts', import.meta.url))
    const command = `${process.execPath} --import tsx ${client}`
    const run = () => conformance('client', '--scenario', 'sse-retry', '--command', command)
    // The suite allows for half a second of its own time limits, which a busy machine takes now and then.
    let result = await run()
    for (let n = 0; n < 2 && result.code !== 0; n++) result = await run()
    expect(result.report).to.include('Passed: 3/3, 0 failed')
    expect(result.code).to.equal(0)
  })

  it('passes dns-rebinding-protection', async () => {
    await using upstream = await startMcpServer()
    await using gateway = await startGateway('the command', upstream.url, { host: 'client' })
    const url = `http://localhost:${gateway.port}/mcp`
    const { code, report } = await conformance(
      'server',
      '--scenario',
      'dns-rebinding-protection',
      '--url',
      url,
    )
    expect(report).to.include('Passed: 2/2, 0 failed')
    expect(code).to.equal(0)
  })
})
