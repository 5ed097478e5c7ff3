/**
 * Cilium security identities: what the numbers mean. Ranges and scopes follow Cilium's `pkg/identity/numericidentity.go`.
 */

/** Where a number is unique: in the whole mesh, on this node, or on this node for a remote node. */
export type IdentityScope = "global" | "node-local" | "remote-node";

/**
 * - `unknown`: 0, no entry.
 * - `reserved`: 1 to 99, host, world, health and the like.
 * - `well-known`: 100 to 127, fixed components such as kube-dns.
 * - `user-reserved`: 128 to 255.
 * - `cluster`: allocated for the labels of pods; carries the cluster's number.
 * - `cidr`: node-local, made for an address range or a DNS name.
 * - `node`: node-local, made for another node.
 */
export type IdentityKind = "unknown" | "reserved" | "well-known" | "user-reserved" | "cluster" | "cidr" | "node";

/** A security identity as a reader of the node's maps knows it. */
export interface Identity {
  readonly number: number;
  /** Labels `source:key=value` where a source knew them. */
  readonly labels: readonly string[] | undefined;
}

/** How many clusters a mesh may connect; all clusters of a mesh use the same value. Decides where the cluster bits are. */
export type MaxConnectedClusters = 255 | 511;

const RESERVED_NAMES: Readonly<Record<number, string>> = {
  1: "host",
  2: "world",
  3: "unmanaged",
  4: "health",
  5: "init",
  6: "remote-node",
  7: "kube-apiserver",
  8: "ingress",
  9: "world-ipv4",
  10: "world-ipv6",
};

export const IDENTITY_HOST = 1;

/** The first number that a cluster allocates for the labels of its pods. */
export const FIRST_CLUSTER_IDENTITY = 256;

export function identityScope(number: number): IdentityScope {
  const scope = number >>> 24;
  if (scope === 0) return "global";
  return scope === 2 ? "remote-node" : "node-local";
}

export function identityKind(number: number): IdentityKind {
  const scope = identityScope(number);
  if (scope === "node-local") return "cidr";
  if (scope === "remote-node") return "node";
  if (number === 0) return "unknown";
  if (number < 100) return "reserved";
  if (number < 128) return "well-known";
  return number < FIRST_CLUSTER_IDENTITY ? "user-reserved" : "cluster";
}

/** The name of a reserved identity, such as `world`; undefined for others. */
export function reservedIdentityName(number: number): string | undefined {
  return RESERVED_NAMES[number];
}

/**
 * Number of the cluster that allocated an identity, from its bits: shift 16 for 255 clusters, 15 for 511.
 *
 * @returns undefined for identities that carry no cluster: reserved, well-known and node-local ones. 0 is a cluster
 * that is in no mesh.
 */
export function clusterOfIdentity(number: number, maxConnectedClusters: MaxConnectedClusters): number | undefined {
  if (identityKind(number) !== "cluster") return undefined;
  return maxConnectedClusters === 511 ? (number >>> 15) & 511 : (number >>> 16) & 255;
}

/** The identity number of `low` in a cluster: the inverse of {@link clusterOfIdentity}. */
export function identityInCluster(
  clusterNumber: number,
  low: number,
  maxConnectedClusters: MaxConnectedClusters,
): number {
  const shift = maxConnectedClusters === 511 ? 15 : 16;
  return ((clusterNumber << shift) | (low & ((1 << shift) - 1))) >>> 0;
}
