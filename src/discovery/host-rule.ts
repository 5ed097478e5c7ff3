import type { Clock } from "../clock.js";
import { isOnehopError } from "../errors.js";
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
const UNASKED_MS = 5_000;

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
  readonly #fixed = new Map<string, HostDecision | "ask">();
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
    const fixed = this.#fixed.get(host) ?? this.#decideByName(host);
    if (fixed !== "ask") return fixed;
    const ref = this.refOf(host);
    const key = `${ref.host}:${port}`;
    const cached = this.#answers.get(key);
    if (cached !== undefined && this.#options.clock.now() < cached.until) return cached.decision;
    return this.#ask(key, ref, port);
  }

  /** What configuration and the host's own shape say; remembered, since it never changes. */
  #decideByName(host: string): HostDecision | "ask" {
    const ref = this.refOf(host);
    const { clusterDomain } = this.#options;
    const decision = (): HostDecision | "ask" => {
      if (this.#configured.has(ref.id) || isExplicitServiceHost(host, clusterDomain)) return ref;
      // RFC 6761, section 6.3: never asked of a name server.
      if (ref.host === "localhost") return "foreign";
      return parseServiceHost(host, clusterDomain) === undefined ? "foreign" : "ask";
    };
    const decided = decision();
    if (this.#fixed.size >= MAX_CACHED_HOSTS) this.#fixed.clear();
    this.#fixed.set(host, decided);
    return decided;
  }

  #ask(key: string, ref: ServiceRef, port: number): Promise<HostDecision> {
    const running = this.#asking.get(key);
    if (running !== undefined) return running;
    const asking = this.#decideByAnswer(key, ref, port).then((cached) => {
      this.#asking.delete(key);
      if (this.#answers.size >= MAX_CACHED_HOSTS) this.#answers.clear();
      this.#answers.set(key, cached);
      return cached.decision;
    });
    this.#asking.set(key, asking);
    return asking;
  }

  /**
   * The discovery decides. Where it cannot tell, an earlier yes stands, so that a source that is away for a moment takes
   * no service off the mesh; and a name that the search list completed to a service of the cluster is one.
   */
  async #decideByAnswer(key: string, ref: ServiceRef, port: number): Promise<Cached> {
    const { clock, discovery } = this.#options;
    let answer: ServiceAddresses | undefined;
    const addresses = async (): Promise<ServiceAddresses> => {
      answer = await this.#options.addresses(ref.host);
      return answer;
    };
    try {
      const known = await discovery.knows({ service: ref, port, addresses });
      return { decision: known ? ref : "foreign", until: clock.now() + (answer?.ttlMs ?? UNASKED_MS) };
    } catch (error) {
      const until = clock.now() + UNASKED_MS;
      const isGone = isOnehopError(error) && error.code === "ERR_ONEHOP_NAME" && error.reason === "not-found";
      if (isGone) return { decision: "foreign", until };
      const before = this.#answers.get(key)?.decision;
      if (before !== undefined && before !== "foreign") return { decision: before, until };
      return { decision: this.#isServiceName(answer?.name) ? ref : "foreign", until };
    }
  }

  #isServiceName(found: string | undefined): boolean {
    return found !== undefined && isExplicitServiceHost(found, this.#options.clusterDomain);
  }
}
