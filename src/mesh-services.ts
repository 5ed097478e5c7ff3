import type { AttemptObserver } from "./call/observer.js";
import { guardObserver } from "./call/observer-guard.js";
import { ServiceRuntime } from "./call/service-runtime.js";
import { type Clock, type Timer, wallNowMs } from "./clock.js";
import type { Discovery } from "./discovery/discovery.js";
import type { AddressCache } from "./dns/address-cache.js";
import type { HttpService } from "./http/http-call.js";
import { createPodConnector } from "./http/pod-connector.js";
import { ServicePools } from "./http/service-pools.js";
import type { Notify } from "./model/event.js";
import type { ServiceRef } from "./model/service-ref.js";
import type { ServiceOptions } from "./options.js";
import type { Random } from "./random.js";
import { type SettledService, settleService } from "./service-policy.js";

/** A service port in use. */
export interface MeshService extends HttpService {
  readonly policy: SettledService;
  /** Named in the options: kept as long as the mesh. */
  readonly isConfigured: boolean;
}

export interface MeshServicesOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly notify: Notify;
  readonly discovery: Discovery;
  readonly cluster: string | undefined;
  readonly addresses: AddressCache;
  readonly observer: AttemptObserver | undefined;
  /** Rules by the service's id, or by id and port, which win. */
  readonly rules: ReadonlyMap<string, ServiceOptions>;
  readonly defaults: ServiceOptions | undefined;
  readonly idleServiceMs: number;
}

/** How often services that are no longer called are looked for, in milliseconds. */
const SWEEP_INTERVAL_MS = 30_000;

/** The service ports in use, made at their first call and dropped when they have not been called for long. */
export class MeshServices {
  readonly #options: MeshServicesOptions;
  readonly #observer: AttemptObserver | undefined;
  readonly #services = new Map<string, MeshService>();
  #sweep: Timer | undefined;

  constructor(options: MeshServicesOptions) {
    this.#options = options;
    this.#observer = options.observer === undefined ? undefined : guardObserver(options.observer, options.notify);
  }

  /** The service port; made when it is not in use yet. */
  of(ref: ServiceRef, port: number): MeshService {
    const key = `${ref.id}:${port}`;
    const known = this.#services.get(key);
    if (known !== undefined) return known;
    const made = this.#make(ref, port);
    this.#services.set(key, made);
    this.#sweep ??= this.#sweepLater();
    return made;
  }

  /** Ends every view and every connection; running calls have ended before. */
  close(): void {
    this.#sweep?.cancel();
    for (const service of this.#services.values()) dropService(service);
    this.#services.clear();
  }

  #make(ref: ServiceRef, port: number): MeshService {
    const { clock, random, notify, discovery, cluster, addresses, rules, defaults } = this.#options;
    const own = rules.get(`${ref.id}:${port}`) ?? rules.get(ref.id);
    const policy = settleService(own, defaults);
    const target = { service: ref, port, addresses: () => addresses.addresses(ref.host) };
    const runtime = new ServiceRuntime({
      target,
      policy,
      discovery,
      cluster,
      clock,
      random,
      notify,
      observer: this.#observer,
    });
    const connector = createPodConnector({ clock, connectTimeoutMs: policy.connectTimeoutMs, tls: policy.tls });
    const pools = new ServicePools(connector, clock, policy.drainTimeoutMs);
    runtime.onDrain((key) => pools.drain(key));
    return { runtime, pools, policy, wallNowMs, isConfigured: own !== undefined };
  }

  #sweepLater(): Timer {
    return this.#options.clock.setBackgroundTimer(SWEEP_INTERVAL_MS, () => {
      const unusedSince = this.#options.clock.now() - this.#options.idleServiceMs;
      for (const [key, service] of this.#services) {
        if (service.isConfigured || service.runtime.gate.active > 0 || service.runtime.lastUsedAt > unusedSince)
          continue;
        this.#services.delete(key);
        dropService(service);
      }
      this.#sweep = this.#services.size === 0 ? undefined : this.#sweepLater();
    });
  }
}

function dropService(service: MeshService): void {
  service.runtime.close();
  service.pools.close();
}
