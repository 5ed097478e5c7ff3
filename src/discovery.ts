/** `onehop/discovery`: where endpoints come from. */

export type { Clock, Timer } from "./clock.js";
export { bpfDiscovery } from "./discovery/bpf-discovery.js";
export type { BpfDiscoveryOptions } from "./discovery/bpf-options.js";
export type {
  Discovery,
  DiscoveryHost,
  DiscoveryUpdate,
  DiscoveryWatch,
  ServiceAddresses,
  WatchTarget,
} from "./discovery/discovery.js";
export type { EndpointList, ServiceEndpoints } from "./discovery/endpoint-list.js";
export type { EndpointSpec } from "./discovery/endpoint-spec.js";
export { type FileDiscoveryOptions, fileDiscovery } from "./discovery/file-discovery.js";
export { type StaticDiscovery, type StaticDiscoveryOptions, staticDiscovery } from "./discovery/static-discovery.js";
export type { Kernel, KernelReason, MapInfo, MapReader, MapShape, MapType } from "./kernel/kernel.js";
export type { BackendState, Endpoint } from "./model/endpoint.js";
export type { MeshEvent, Notify, ViewState } from "./model/event.js";
export type { Identity, MaxConnectedClusters } from "./model/identity.js";
export type { IpFamily } from "./model/ip-address.js";
export type { Locality } from "./model/locality.js";
export type { ServiceRef } from "./model/service-ref.js";
export type { SnapshotDiff } from "./model/snapshot.js";
