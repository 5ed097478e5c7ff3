import type { Identity } from "./identity.js";
import { formatHostPort, type IpFamily } from "./ip-address.js";
import type { Locality } from "./locality.js";

/** The state Cilium gives a backend. */
export type BackendState = "active" | "terminating" | "quarantined" | "maintenance";

/**
 * One pod address and port of a service. Immutable; what changes while calls run (in flight, latency) is kept
 * elsewhere under `key`.
 */
export interface Endpoint {
  /**
   * Names the pod behind the address: backend id, address and port. A new backend id under the same address is a new
   * pod. Kept when the maps are rebuilt and only ids are renumbered.
   */
  readonly key: string;
  /** Cilium's backend id; 0 where the source has none. */
  readonly backendId: number;
  readonly address: string;
  readonly port: number;
  readonly family: IpFamily;
  readonly state: BackendState;
  /** Undefined when unknown: no entry, or only a covering prefix (world, a CIDR) answered. */
  readonly identity: Identity | undefined;
  readonly locality: Locality;
  /** `service` marks the service's own address, dialled when the pods cannot be known or must not be bypassed. */
  readonly kind: "pod" | "service";
}

export function endpointKey(backendId: number, address: string, port: number): string {
  return `${backendId}@${formatHostPort(address, port)}`;
}

/** `address:port` for people. */
export function endpointAddress(endpoint: Pick<Endpoint, "address" | "port">): string {
  return formatHostPort(endpoint.address, endpoint.port);
}
