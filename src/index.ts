/** The public face of onehop. Endpoint sources are in `onehop/discovery`. */

export type { AttemptObserver, AttemptScope, AttemptStart } from "./call/observer.js";
export type { Clock, Timer } from "./clock.js";
export type {
  Discovery,
  DiscoveryHost,
  DiscoveryUpdate,
  DiscoveryWatch,
  ServiceAddresses,
  WatchTarget,
} from "./discovery/discovery.js";
export {
  type AttemptRecord,
  isOnehopError,
  OnehopError,
  type OnehopErrorCode,
  type OnehopErrorDetails,
} from "./errors.js";
export type { BodyFactory, MeshRequestInit } from "./http/mesh-fetch.js";
export { createMesh, type Mesh, type MeshRequestOptions } from "./mesh.js";
export type { BackendState, Endpoint } from "./model/endpoint.js";
export type { MeshEvent, MeshEventOf, MeshEventType, Notify, ViewState } from "./model/event.js";
export type { Identity } from "./model/identity.js";
export type { IpFamily } from "./model/ip-address.js";
export type { Locality } from "./model/locality.js";
export type { ServiceRef } from "./model/service-ref.js";
export type { SnapshotDiff } from "./model/snapshot.js";
export type { CallOptions, DnsOptions, MeshOptions, RetryOptions, ServiceOptions } from "./options.js";
export type { IdentityExpectation } from "./policy/identity-expectation.js";
export type { LocalityOrder } from "./policy/locality-tiers.js";
export type { Random } from "./random.js";
export type { EndpointExplanation, EndpointReport, Explanation, ServiceHandle } from "./service-handle.js";
