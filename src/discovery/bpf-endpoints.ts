import { type BackendState, type Endpoint, endpointKey } from "../model/endpoint.js";
import { clusterOfIdentity, type MaxConnectedClusters } from "../model/identity.js";
import { ipFamily } from "../model/ip-address.js";
import type { Locality } from "../model/locality.js";
import type { MemberBackend } from "./frontend-check.js";
import type { AddressIdentity } from "./identity-lookup.js";

/** How numbers of the maps get names. */
export interface MapNaming {
  /** Cluster names by number. */
  readonly clusters: Readonly<Record<number, string>>;
  /** Zone names by Cilium's numeric zone id (agent option `fixed-zone-mapping`). */
  readonly zones: Readonly<Record<number, string>>;
  readonly maxConnectedClusters: MaxConnectedClusters;
}

/**
 * The endpoints of a frontend.
 *
 * @param previous the endpoints before: what was known of an identity stays known while the ipcache lags
 * @param isRebuilt the maps were replaced since, so that backend ids may have been given anew: an endpoint with the same
 * address and port is then taken for the same pod
 */
export function buildEndpoints(
  members: readonly MemberBackend[],
  identityOf: (address: string) => AddressIdentity,
  previous: readonly Endpoint[],
  isRebuilt: boolean,
  naming: MapNaming,
): readonly Endpoint[] {
  const known = new Map(previous.map((endpoint) => [idOf(endpoint, isRebuilt), endpoint]));
  const taken = new Set(previous.map(({ key }) => key));
  return members.map((member) => {
    const { backend, backendId } = member;
    const before = known.get(idOf({ backendId, ...backend }, isRebuilt));
    const found = identityOf(backend.address);
    const identity = found.identity ?? before?.identity;
    return {
      key: before?.key ?? freshKey(endpointKey(backendId, backend.address, backend.port), taken),
      backendId,
      address: backend.address,
      port: backend.port,
      family: ipFamily(backend.address) ?? 4,
      state: stateOf(member),
      identity,
      locality: localityOf(identity?.number, found.node ?? before?.locality.node, backend.zone, naming),
      kind: "pod",
    };
  });
}

/** A key kept over a renumbering may be what the ids of a later pod spell: that pod gets another one. */
function freshKey(key: string, taken: ReadonlySet<string>): string {
  return taken.has(key) ? freshKey(`${key}'`, taken) : key;
}

/** Whether any endpoint may be called. */
export function hasCallable(endpoints: readonly Endpoint[]): boolean {
  return endpoints.some(({ state }) => state === "active" || state === "terminating");
}

function idOf(endpoint: { backendId: number; address: string; port: number }, isRebuilt: boolean): string {
  return endpointKey(isRebuilt ? 0 : endpoint.backendId, endpoint.address, endpoint.port);
}

/**
 * The state byte of the backend decides, not the slot's quarantine bit. An active backend in the tail is one that
 * Cilium keeps for running connections: it is in no rotation.
 */
function stateOf({ backend, isTail }: MemberBackend): BackendState {
  return isTail && backend.state === "active" ? "quarantined" : backend.state;
}

function localityOf(
  identity: number | undefined,
  node: string | undefined,
  zone: number,
  { clusters, zones, maxConnectedClusters }: MapNaming,
): Locality {
  const clusterNumber = identity === undefined ? undefined : clusterOfIdentity(identity, maxConnectedClusters);
  return {
    clusterNumber,
    cluster: clusterNumber === undefined ? undefined : clusters[clusterNumber],
    zone: zone === 0 ? undefined : (zones[zone] ?? `#${zone}`),
    node,
  };
}
