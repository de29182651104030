/// <reference types="node" preserve="true" />

export type {
  HubCancelMessage,
  HubEndMessage,
  HubFigures,
  HubGapMessage,
  HubGapReason,
  HubMessage,
  HubOpenMessage,
  HubOptionsMessage,
  HubReleaseMessage,
  HubReleaseReason,
  HubSlowMessage,
  HubStartMessage,
  HubStoreAwayMessage,
  HubStoreBackMessage,
  HubStoreCallMessage,
  HubStoreErrorMessage,
  SharedStreamMessage,
  StoreCommand,
  StreamRole,
} from './diagnostics/hub-messages.ts'
export type {
  DelaySource,
  DropMessage,
  DropReason,
  DuplicateMessage,
  EndMessage,
  GapMessage,
  Logger,
  OpenMessage,
  RepeatsMessage,
  RetryMessage,
  StartMessage,
  StreamMessage,
  StreamOutcome,
  StreamStats,
} from './diagnostics.ts'
export { type HeaderFields, SseError, type SseErrorCode, type SseErrorDetails } from './errors.ts'
export { lastEventIdFrom, type RequestWithLastEventId } from './http/fields.ts'
export type { SharedRelaySummary } from './hub/client.ts'
export { type CloseOptions, createSseHub, type SseHub, type StreamStatus } from './hub/hub.ts'
export { memoryStore } from './hub/memory-store.ts'
export type { HubOptions, RetentionOptions, SharedStreamOptions, SubscribeOptions } from './hub/options.ts'
export type {
  AppendResult,
  EndEntry,
  Entry,
  EventsEntry,
  OpenEntry,
  OpenOptions,
  OpenResult,
  Position,
  StreamStore,
} from './hub/store.ts'
export type { SseSubscription } from './hub/subscription.ts'
export {
  createSseProxy,
  type ProxyOptions,
  type ProxyRelayOptions,
  type ProxyRequest,
  type ProxyResponse,
  type ProxySharedOptions,
  refuseUpgrade,
} from './proxy/proxy.ts'
export type { ReconnectOptions, ResumeMode, RetryContext, SourceOptions } from './reconnect/options.ts'
export type { SourceState } from './reconnect/reconnecting-stream.ts'
export type { ClientRequestLike } from './relay/client.ts'
export { createDrain, type Drain, type DrainOptions } from './relay/drain.ts'
export type { Refusal } from './relay/head.ts'
export type { DownstreamResponse } from './relay/node-response.ts'
export type { RelayOptions } from './relay/options.ts'
export { relayResponse, relaySse } from './relay/relay.ts'
export type { RelaySummary } from './relay/relay-sink.ts'
export type { EventTransform } from './relay/transform.ts'
export { createDedupe } from './resume/dedupe.ts'
export { type EventIdentity, EventTracker, type EventTrackerOptions } from './resume/tracker.ts'
export {
  type ChunkOf,
  createResilientSseSource,
  type ResilientSseSource,
  type SourceEventMap,
  type SourceMembers,
} from './source.ts'
export { type HttpUpstreamOptions, httpUpstream } from './upstream/http-upstream.ts'
export type {
  ByteStream,
  ResponseData,
  ResponseLike,
  ResponseMessage,
  Upstream,
  UpstreamContext,
  UpstreamFactory,
  WebByteStream,
} from './upstream/shapes.ts'
export { type SseEvent, serializeEvent } from './wire/event.ts'
export { createSerializer } from './wire/serializer.ts'
