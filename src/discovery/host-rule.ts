import type { Clock } from "../clock.js";
import { isExplicitServiceHost, normalHost, parseServiceHost, type ServiceRef } from "../model/service-ref.js";
import type { Discovery, ServiceAddresses } from "./discovery.js";

/** The service a host stands for, or `foreign`: not ours, passes through untouched. */
export type HostDecision = ServiceRef | "foreign";

export interface HostRuleOptions {
  /** Hosts that configuration names: these never leave the mesh path. */
  readonly configured: readonly string[];
  readonly clusterDomain: string;
  readonly discovery: Discovery;
  readonly addresses: (host: string) => Promise<ServiceAddresses>;
  readonly clock: Clock;
}

interface Cached {
  readonly decision: HostDecision;
  readonly until: number;
}

/** How long a decision is kept that no DNS lifetime bounds: the name did not resolve, or was not asked for. */
const UNRESOLVED_MS = 5_000;

/** Bounds the memory for hosts that were decided by their answers. */
const MAX_CACHED_HOSTS = 10_000;

/**
 * Decides which hosts are services of the mesh: those that configuration names; `*.svc` names of the cluster domain or
 * the cluster set; and `name` or `name.namespace` when they resolve to an address that the discovery knows as a
 * frontend. The last kind is decided once per DNS lifetime. Everything else is foreign without a look-up.
 */
export class HostRule {
  readonly #options: HostRuleOptions;
  readonly #configured = new Map<string, ServiceRef>();
  readonly #answers = new Map<string, Cached>();
  readonly #asking = new Map<string, Promise<HostDecision>>();

  constructor(options: HostRuleOptions) {
    this.#options = options;
    for (const host of options.configured) {
      const ref = this.refOf(host);
      this.#configured.set(ref.id, ref);
    }
  }

  /** A host as a service reference, whatever its shape. */
  refOf(host: string): ServiceRef {
    const normal = normalHost(host);
    return (
      parseServiceHost(normal, this.#options.clusterDomain) ?? {
        id: normal,
        name: normal,
        namespace: undefined,
        domain: "cluster",
        host: normal,
      }
    );
  }

  /** The decision, at once where it is known, else a promise that never rejects. */
  decide(host: string, port: number): HostDecision | Promise<HostDecision> {
    const ref = this.refOf(host);
    if (this.#configured.has(ref.id) || isExplicitServiceHost(host, this.#options.clusterDomain)) return ref;
    if (parseServiceHost(host, this.#options.clusterDomain) === undefined) return "foreign";
    const key = `${ref.host}:${port}`;
    const cached = this.#answers.get(key);
    if (cached !== undefined && this.#options.clock.now() < cached.until) return cached.decision;
    return this.#ask(key, ref, port);
  }

  #ask(key: string, ref: ServiceRef, port: number): Promise<HostDecision> {
    const running = this.#asking.get(key);
    if (running !== undefined) return running;
    const asking = this.#decideByAnswer(ref, port).then((cached) => {
      this.#asking.delete(key);
      if (this.#answers.size >= MAX_CACHED_HOSTS) this.#answers.clear();
      this.#answers.set(key, cached);
      return cached.decision;
    });
    this.#asking.set(key, asking);
    return asking;
  }

  async #decideByAnswer(ref: ServiceRef, port: number): Promise<Cached> {
    const { clock, discovery } = this.#options;
    let lifetimeMs = UNRESOLVED_MS;
    const addresses = async (): Promise<ServiceAddresses> => {
      const answer = await this.#options.addresses(ref.host);
      lifetimeMs = answer.ttlMs;
      return answer;
    };
    try {
      const known = await discovery.knows({ service: ref, port, addresses });
      return { decision: known ? ref : "foreign", until: clock.now() + lifetimeMs };
    } catch {
      // A name that does not resolve is nobody's service; its own caller gets the resolver's error from the transport.
      return { decision: "foreign", until: clock.now() + UNRESOLVED_MS };
    }
  }
}
