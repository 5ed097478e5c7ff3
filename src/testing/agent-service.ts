/** What the stand-in for Cilium's agent is told of services, and how it lays backends out in slots. */
import type { Backend } from "../cilium/backend-map.js";
import type { CiliumVersion } from "../cilium/cilium-versions.js";
import type { Protocol } from "../cilium/protocol.js";
import type { ServiceFlag } from "../cilium/service-flags.js";
import type { LbAlgorithm, ServiceScope } from "../cilium/service-map.js";
import type { BackendState } from "../model/endpoint.js";
import { formatHostPort, formatIpAddress, parseIpAddress } from "../model/ip-address.js";

/** Names a frontend: one address, port, protocol and scope has one master. */
export interface FrontendName {
  readonly address: string;
  readonly port: number;
  /** Default `tcp`. Versions without protocols write `any` whatever stands here. */
  readonly protocol?: Protocol;
  /** Default `external`. Entries of `internal` need the flag `twoScopes` on the external frontend to be read. */
  readonly scope?: ServiceScope;
}

/** The desired state of a frontend. */
export interface AgentFrontend extends FrontendName {
  /** Default none, which is a ClusterIP. */
  readonly flags?: readonly ServiceFlag[];
  /** Default `node-default`. Versions before 1.17 have no room for it. */
  readonly algorithm?: LbAlgorithm;
  /** How long a client stays with its backend, in seconds; goes with the flag `affinity`. Default 0. */
  readonly affinityTimeoutS?: number;
  /** Port of the node's Envoy; goes with the flag `l7Proxy`. */
  readonly l7ProxyPort?: number;
}

/** A backend that a frontend should have. */
export interface AgentBackend {
  readonly address: string;
  readonly port: number;
  /** Default `active`. */
  readonly state?: BackendState;
  /** Numeric zone id; default 0, none. Versions before 1.16 write none. */
  readonly zone?: number;
  /**
   * Whether service affinity prefers it. Default true. An active backend that is not preferred gets a slot after the
   * counted ones up to 1.17, and none from 1.18 on.
   */
  readonly isPreferred?: boolean;
}

/** A backend as its map entry will say it. */
export interface PlannedBackend extends Backend {
  readonly isPreferred: boolean;
}

/** How the backends of a frontend are laid out. */
export interface SlotPlan {
  /** In order of their slots, from slot 1. */
  readonly slots: readonly PlannedBackend[];
  /** So many of the slots take new connections; the others follow. */
  readonly count: number;
  /** In the backends map and in no slot. */
  readonly inMaintenance: readonly PlannedBackend[];
}

/** The order of states in the slots, from Cilium's own numbering. */
const STATE_ORDER: Readonly<Record<BackendState, number>> = {
  active: 0,
  terminating: 1,
  quarantined: 2,
  maintenance: 3,
};

export function frontendKey({ address, port, protocol = "tcp", scope = "external" }: FrontendName): string {
  return `${backendKey({ address: canonical(address), port, protocol })} ${scope}`;
}

export function backendKey({ address, port, protocol }: Pick<Backend, "address" | "port" | "protocol">): string {
  return `${formatHostPort(address, port)}/${protocol}`;
}

/** What the version writes of the given backends. */
export function plannedBackends(
  backends: readonly AgentBackend[],
  protocol: Protocol,
  version: CiliumVersion,
): readonly PlannedBackend[] {
  return backends
    .map(({ address, port, state = "active", zone = 0, isPreferred = true }) => ({
      address: canonical(address),
      port,
      protocol,
      state,
      clusterId: 0,
      zone: version.writesZone ? zone : 0,
      isPreferred,
    }))
    .filter(({ isPreferred }) => isPreferred || version.notPreferred === "in-tail");
}

/**
 * Lays backends out. From 1.18 on they are sorted by state, address and port (`sortedBackends` of
 * `pkg/loadbalancer/reconciler`); before, active ones by id, preferred ones first, and the others behind
 * (`GetOrderedBackends` of `pkg/maps/lbmap` and `pkg/datapath/types`). Terminating backends are counted only when no
 * active one is left (Kubernetes KEP-1669).
 */
export function planSlots(
  backends: readonly PlannedBackend[],
  version: CiliumVersion,
  idOf: (backend: PlannedBackend) => number,
): SlotPlan {
  const inSlots = backends.filter(({ state }) => state !== "maintenance");
  const byState = (a: PlannedBackend, b: PlannedBackend): number => STATE_ORDER[a.state] - STATE_ORDER[b.state];
  const byPreference = (a: PlannedBackend, b: PlannedBackend): number => Number(b.isPreferred) - Number(a.isPreferred);
  const isSortedByAddress = version.orphanBackends === "first";
  const slots = inSlots.sort(
    (a, b) => byState(a, b) || byPreference(a, b) || (isSortedByAddress ? byAddress(a, b) : idOf(a) - idOf(b)),
  );
  const counted = slots.filter(({ state, isPreferred }) => state === "active" && isPreferred).length;
  const terminating = slots.filter(({ state }) => state === "terminating").length;
  const hasActive = slots.some(({ state }) => state === "active");
  return {
    slots,
    count: hasActive ? counted : terminating,
    inMaintenance: backends.filter(({ state }) => state === "maintenance"),
  };
}

/** @throws RangeError when `address` is no IP address */
export function canonical(address: string): string {
  const bytes = parseIpAddress(address);
  if (bytes === undefined) throw new RangeError(`"${address}" is no IP address`);
  return formatIpAddress(bytes);
}

function byAddress(a: PlannedBackend, b: PlannedBackend): number {
  const [left, right] = [parseIpAddress(a.address), parseIpAddress(b.address)];
  return Buffer.compare(left ?? new Uint8Array(), right ?? new Uint8Array()) || a.port - b.port;
}
