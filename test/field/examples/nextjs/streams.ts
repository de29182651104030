import { createSseHub, httpUpstream, type SharedStreamOptions, type SseHub } from 'resilient-sse'

const { UPSTREAM = 'http://localhost:3000/events', MODEL = 'http://localhost:3000/answer' } = process.env
export const upstream = httpUpstream(UPSTREAM)

declare global {
  var sharedHub: SseHub | undefined
}
/** Next.js may load this file once for each route, and again after a change. The process has one hub. */
globalThis.sharedHub ??= createSseHub()
export const hub = globalThis.sharedHub

/** The model is asked once. Its answer is read to the end, and kept for readers that come late or come back. */
export const session: SharedStreamOptions = {
  from: 'start',
  linger: Number.POSITIVE_INFINITY,
  resume: 'before-first-event',
  isTerminal: ({ data }) => data === '[DONE]',
}
export const answerTo = (body: string) =>
  httpUpstream(MODEL, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
