import { relayResponse } from 'resilient-sse'
import { upstream } from '../../streams.ts'

export const dynamic = 'force-dynamic'

// Each client has an upstream connection of its own.
export const GET = (request: Request) => relayResponse(request, upstream)
