import http from 'node:http'
import { now } from './answering.ts'
import { jsonOf } from './wire.ts'

export interface JsonQuestion {
  readonly url: string
  /** Bytes of each answer. */
  readonly bytes: number
  readonly connections: number
  readonly seconds: number
}

/** Asks on several connections, on each of them again as soon as the answer is whole; gives the number of answers. */
export async function askForJson({ url, bytes, connections, seconds }: JsonQuestion): Promise<number> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections })
  const expected = jsonOf(bytes)
  const end = now() + seconds * 1000
  let answers = 0
  const askInTurn = async () => {
    do {
      const answer = await ask(url, agent)
      if (!answer.equals(expected))
        throw new Error(`an answer of ${answer.length} bytes is not as it was sent`)
      answers++
    } while (now() < end)
  }
  try {
    await Promise.all(Array.from({ length: connections }, askInTurn))
  } finally {
    agent.destroy()
  }
  return answers
}

function ask(url: string, agent: http.Agent): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, headers: { accept: 'application/json' } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => resolve(Buffer.concat(chunks)))
    })
    request.on('error', reject)
  })
}
