import { answerTo, hub, session } from '../../../streams.ts'

export const dynamic = 'force-dynamic'

const nameOf = ({ url }: Request) => new URL(url).pathname

// A session, which goes on while its client is away. Decide here who may ask, and who may read which answer.
export async function POST(request: Request): Promise<Response> {
  await hub.start(nameOf(request), answerTo(await request.text()), session)
  return new Response(null, { status: 202 })
}

export const GET = (request: Request) => hub.respond(request, nameOf(request), undefined, session)
