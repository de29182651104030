/// <reference types="node" preserve="true" />

export { createDedupe } from './dedupe.ts'
export type {
  DelaySource,
  DropMessage,
  DropReason,
  DuplicateMessage,
  EndMessage,
  GapMessage,
  Logger,
  OpenMessage,
  RetryMessage,
  StreamMessage,
} from './diagnostics.ts'
export { SseError, type SseErrorCode, type SseErrorDetails } from './errors.ts'
export { type SseEvent, serializeEvent } from './event.ts'
export type { DownstreamResponse } from './head.ts'
export { type HeaderFields, lastEventIdFrom, type RequestWithLastEventId } from './headers.ts'
export { type HttpUpstreamOptions, httpUpstream } from './http-upstream.ts'
export type { ReconnectOptions, ResumeMode, RetryContext, SourceOptions } from './options.ts'
export { createSseProxy, type ProxyOptions, type ProxyRelayOptions, refuseUpgrade } from './proxy.ts'
export type { SourceState } from './reconnector.ts'
export {
  type RelayOptions,
  type RelayResponseOptions,
  type RelaySummary,
  relayResponse,
  relaySse,
} from './relay.ts'
export { createSerializer } from './serializer.ts'
export {
  createResilientSseSource,
  type ResilientSseSource,
  type SourceEventMap,
  type SourceMembers,
  type SourceStats,
} from './source.ts'
export { type EventIdentity, EventTracker, type EventTrackerOptions } from './tracker.ts'
export type {
  ByteStream,
  ResponseData,
  ResponseLike,
  ResponseMessage,
  Upstream,
  UpstreamContext,
  UpstreamFactory,
  WebByteStream,
} from './upstream.ts'
