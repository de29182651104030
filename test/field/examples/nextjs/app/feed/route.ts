import { hub, upstream } from '../../streams.ts'

export const dynamic = 'force-dynamic'

// All clients share one upstream connection.
export const GET = (request: Request) => hub.respond(request, 'feed', upstream)
