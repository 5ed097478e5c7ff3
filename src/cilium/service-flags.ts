/**
 * Flags of an entry in the services map, as one number: the byte `flags` below, `flags2` in the high byte. From
 * `bpf/lib/lb.h` and `pkg/loadbalancer/loadbalancer.go` of Cilium.
 */
export const SERVICE_FLAGS = {
  externalIp: 0x0001,
  nodePort: 0x0002,
  /** externalTrafficPolicy Local. */
  externalLocal: 0x0004,
  hostPort: 0x0008,
  /** Session affinity ClientIP. */
  affinity: 0x0010,
  loadBalancer: 0x0020,
  /** Set for everything but ClusterIPs and surrogate entries. */
  routable: 0x0040,
  /** Source ranges are checked. */
  sourceRange: 0x0080,
  /** A local-redirect policy made the service. */
  localRedirect: 0x0100,
  nat46x64: 0x0200,
  /** Handed to the node's Envoy, which balances and applies L7 policy. */
  l7Proxy: 0x0400,
  /** With `hostPort`: on the loopback only. Without: delegated to a proxy. */
  loopback: 0x0800,
  /** internalTrafficPolicy Local. */
  internalLocal: 0x1000,
  /** Traffic from inside has entries of its own, at scope `internal`. */
  twoScopes: 0x2000,
  /** In a slot: quarantined. In the master: source ranges deny. */
  quarantined: 0x4000,
  /** Forwarding by direct server return. */
  dsr: 0x8000,
} as const;

export type ServiceFlag = keyof typeof SERVICE_FLAGS;

const TYPE_FLAGS =
  SERVICE_FLAGS.externalIp |
  SERVICE_FLAGS.nodePort |
  SERVICE_FLAGS.hostPort |
  SERVICE_FLAGS.loadBalancer |
  SERVICE_FLAGS.localRedirect;

export function hasServiceFlag(flags: number, flag: ServiceFlag): boolean {
  return (flags & SERVICE_FLAGS[flag]) !== 0;
}

/** Whether the node's Envoy balances the frontend; calling its pods directly would bypass L7 policy. */
export function isL7Proxy(flags: number): boolean {
  return hasServiceFlag(flags, "l7Proxy");
}

/** Whether a caller inside the cluster must look the frontend up again at scope `internal`. */
export function hasTwoScopes(flags: number): boolean {
  return hasServiceFlag(flags, "twoScopes");
}

/** Whether Cilium keeps a client on one backend. */
export function hasSessionAffinity(flags: number): boolean {
  return hasServiceFlag(flags, "affinity");
}

/** Whether only backends of this node are in the entries (internalTrafficPolicy Local). */
export function isInternalLocal(flags: number): boolean {
  return hasServiceFlag(flags, "internalLocal");
}

/** ClusterIP is the absence of every other type. */
export function isClusterIp(flags: number): boolean {
  return (flags & TYPE_FLAGS) === 0;
}

/** Names of the flags that are set, for people. */
export function serviceFlagNames(flags: number): readonly ServiceFlag[] {
  return (Object.keys(SERVICE_FLAGS) as ServiceFlag[]).filter((flag) => hasServiceFlag(flags, flag));
}
