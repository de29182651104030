/** Whether a Content-Type is `text/event-stream`, with or without parameters, in any case. */
export function isEventStream(contentType: string | undefined): boolean {
  return contentType !== undefined && /^\s*text\/event-stream\s*(;|$)/i.test(contentType)
}
