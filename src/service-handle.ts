import type { EndpointLoad } from "./balance/endpoint-load.js";
import type { ServiceRuntime } from "./call/service-runtime.js";
import type { ServicePools } from "./http/service-pools.js";
import type { BackendState } from "./model/endpoint.js";
import type { ViewState } from "./model/event.js";
import { clusterLabel } from "./model/locality.js";

/** One endpoint of a service, as plain data. */
export interface EndpointReport {
  readonly address: string;
  readonly port: number;
  readonly kind: "pod" | "service";
  readonly state: BackendState;
  /** Name of its cluster, or `#number`; undefined when unknown. */
  readonly cluster: string | undefined;
  readonly zone: string | undefined;
  readonly node: string | undefined;
  /** Security identity; undefined when unknown. */
  readonly identity: number | undefined;
  readonly labels: readonly string[] | undefined;
  readonly backendId: number;
  /** Attempts under way from this process. */
  readonly inflight: number;
  /** Attempts from this process so far. */
  readonly picks: number;
  /** Peak-EWMA estimate in milliseconds; undefined before the first answer. */
  readonly latencyMs: number | undefined;
  /** 0.01 to 1. */
  readonly successRate: number;
  /** Connections from this process. */
  readonly connections: number;
}

/** Why an endpoint would be picked or not. */
export interface EndpointExplanation extends EndpointReport {
  /** Position of its failover tier, from 0; undefined when it is in none. */
  readonly tier: number | undefined;
  /** Whether a first attempt may go to it now. */
  readonly eligible: boolean;
  /** In words. */
  readonly reason: string;
  /** What two random choices compare; lower wins. */
  readonly cost: number;
}

/** How the next call to a service would be decided. */
export interface Explanation {
  readonly service: string;
  readonly port: number;
  /** Where the endpoints come from at the moment. */
  readonly state: ViewState;
  /** Why the view is in its state. */
  readonly reason: string;
  readonly source: string | undefined;
  readonly generation: number;
  /** Retries that the budget would allow now. */
  readonly retryBudget: number;
  readonly endpoints: readonly EndpointExplanation[];
}

/** What `mesh.service(name)` gives. */
export interface ServiceHandle {
  /** The endpoints known now. Resolves when the first view is known. */
  endpoints(): Promise<readonly EndpointReport[]>;
  /** How the next call would be decided, and why. Resolves when the first view is known. */
  explain(): Promise<Explanation>;
}

export function reportEndpoint(load: EndpointLoad, pools: ServicePools, now: number): EndpointReport {
  const { endpoint } = load;
  return {
    address: endpoint.address,
    port: endpoint.port,
    kind: endpoint.kind,
    state: endpoint.state,
    cluster: clusterLabel(endpoint.locality),
    zone: endpoint.locality.zone,
    node: endpoint.locality.node,
    identity: endpoint.identity?.number,
    labels: endpoint.identity?.labels,
    backendId: endpoint.backendId,
    inflight: load.inflight,
    picks: load.picks,
    latencyMs: load.latencyMs(now),
    successRate: load.successRate(now),
    connections: pools.sizeOf(endpoint.key),
  };
}

export function explainService(runtime: ServiceRuntime, pools: ServicePools): Explanation {
  const now = runtime.clock.now();
  const { balancer, view } = runtime;
  const endpoints = balancer.loads.map((load) => ({
    ...reportEndpoint(load, pools, now),
    ...explainEndpoint(runtime, load),
    cost: balancer.picker.cost(load, now),
  }));
  return {
    service: runtime.id,
    port: runtime.port,
    state: view.state,
    reason: view.reason,
    source: view.snapshot?.source,
    generation: view.snapshot?.generation ?? 0,
    retryBudget: runtime.budget.balance(now),
    endpoints: endpoints.sort((a, b) => Number(b.eligible) - Number(a.eligible) || a.cost - b.cost),
  };
}

function explainEndpoint(
  runtime: ServiceRuntime,
  load: EndpointLoad,
): Pick<EndpointExplanation, "tier" | "eligible" | "reason"> {
  const { picker } = runtime.balancer;
  const { state, kind, key } = load.endpoint;
  const tier = picker.tierOf(load);
  if (tier === 0) {
    const reason = kind === "service" ? "the service's own address: Cilium balances" : "active, in the nearest tier";
    return { tier, eligible: true, reason };
  }
  if (tier > 0) return { tier, eligible: false, reason: "active, for retries: a nearer tier has endpoints" };
  if (runtime.balancer.isRefused(key)) {
    return { tier: undefined, eligible: false, reason: "refused: its identity is not the expected one" };
  }
  if (picker.lastResort.includes(load)) {
    const isLeft = picker.tiers.length === 0;
    const reason = isLeft ? "terminating, and nothing else is left" : "terminating: gets no new calls";
    return { tier: undefined, eligible: isLeft, reason };
  }
  return { tier: undefined, eligible: false, reason: `Cilium says ${state}` };
}
