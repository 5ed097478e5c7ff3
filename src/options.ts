import type { AttemptObserver } from "./call/observer.js";
import type { Clock } from "./clock.js";
import type { Discovery } from "./discovery/discovery.js";
import type { IdentityExpectation } from "./policy/identity-expectation.js";
import type { LocalityOrder } from "./policy/locality-tiers.js";
import type { Random } from "./random.js";

/** When and how a failed attempt is followed by another one. */
export interface RetryOptions {
  /**
   * Attempts of one call, the first included; 1 turns retries off. Default 3, as the SRE book and the AWS SDKs: more
   * rarely helps and multiplies the load of an outage.
   */
  readonly maxAttempts?: number;
  /**
   * HTTP statuses of which a retry is made, for idempotent requests. Default 429, 502, 503, 504: the server said that
   * it did not do the work, or a hop before it did.
   */
  readonly statuses?: readonly number[];
  /**
   * Pauses between attempts, in milliseconds: full jitter under an exponential bound. Default base 25, cap 250 (Envoy:
   * fits the latencies inside a mesh).
   */
  readonly backoff?: { readonly baseMs?: number; readonly capMs?: number };
  /**
   * How many retries the calls of the service may add in all. Each call's first attempt deposits `ratio` (default 0.2),
   * each retry withdraws 1, deposits last `ttlMs` (default 10,000); `minPerSecond` (default 1) lets quiet services
   * retry. As Finagle's retry budget, whose reserve of 10 per second is too much for hundreds of pods.
   */
  readonly budget?: { readonly ratio?: number; readonly minPerSecond?: number; readonly ttlMs?: number };
  /**
   * How many retries may be in flight at once: `ratio` of the calls under way (default 0.2), at least `minimum`
   * (default 3). More wait for their turn within their deadline. As Envoy's retry budget.
   */
  readonly concurrency?: { readonly ratio?: number; readonly minimum?: number };
  /**
   * Whether retries may leave for another cluster: `same-then-other` (default) goes from the third attempt on, and at
   * once after a timeout, a failed connection, or when the own cluster has no other endpoint; `never-cross` stays.
   */
  readonly spread?: "same-then-other" | "never-cross";
  /**
   * How much of a request body that is a one-shot stream is kept for a retry, in bytes. Default 65,536 (Linkerd).
   * Strings, buffers, Blobs, FormData and functions that make a body need no copy and have no limit.
   */
  readonly replayLimitBytes?: number;
}

/** The rules of one service. Everything is optional. */
export interface ServiceOptions {
  /**
   * The whole call until its response headers, in milliseconds: finding endpoints, all attempts, all pauses. Default
   * 15,000 (Envoy's route timeout). The body is not bounded by it.
   */
  readonly timeoutMs?: number;
  /**
   * One attempt until its response headers, in milliseconds. Default: `timeoutMs` divided by the attempts, so that one
   * pod that swallows packets leaves time for the others; what earlier attempts did not use is shared by those left. An
   * attempt that nothing can follow (the last one, or a POST) has all that remains.
   */
  readonly perTryTimeoutMs?: number;
  /**
   * A TCP (and TLS) handshake, in milliseconds. Default 1,000, or what one attempt may take where that is less: pods
   * are near, one that is gone must not cost undici's 10 seconds, and there must be time for another attempt.
   */
  readonly connectTimeoutMs?: number;
  /** The longest silence within a response body, in milliseconds; 0 for none. Default 300,000 (undici). */
  readonly bodyIdleTimeoutMs?: number;
  readonly retry?: RetryOptions;
  readonly locality?: {
    /**
     * Clusters by preference: names, `"local"` for the own one, `"*"` for all not named; or `"any"` for all alike.
     * Default `["local", "*"]`. A later cluster is used when a call has failed in the ones before.
     */
    readonly order?: LocalityOrder;
  };
  /**
   * The Cilium identity the service's pods should have. A pod with another known identity gets no calls: its address
   * may have been recycled. A safety net in the moment the maps lag, not authentication.
   */
  readonly expectIdentity?: IdentityExpectation;
  /**
   * `auto` (default) dials pods, and the service's own address where Cilium hands it to its L7 proxy or no endpoints can
   * be had; `service` always dials the service's address, for pods that are not routable from here.
   */
  readonly dial?: "auto" | "service";
  /**
   * How long calls that run on an endpoint which is going away may go on, in milliseconds. Default 30,000 (the grace
   * Kubernetes gives a pod).
   */
  readonly drainTimeoutMs?: number;
  /**
   * How long the last endpoints stay in use after the source said that the service is empty or gone, in milliseconds.
   * Default 5,000: outlasts a flap, and is shorter than it takes to give an address to another pod.
   */
  readonly emptyGraceMs?: number;
  /** Options of `tls.connect` for https, such as `ca`, `cert`, `key`. The server name stays the service's. */
  readonly tls?: Readonly<Record<string, unknown>>;
}

/** Where names are resolved. */
export interface DnsOptions {
  /** Name servers instead of those in resolv.conf, `address` or `address:port`. */
  readonly nameservers?: readonly string[];
  /** Search list instead of the one in resolv.conf. */
  readonly search?: readonly string[];
  /** Default `/etc/resolv.conf`. */
  readonly resolvConfPath?: string;
  /** Default `/etc/hosts`. */
  readonly hostsPath?: string;
}

/** Options of `createMesh`. Everything is optional. */
export interface MeshOptions {
  /**
   * Rules by service, keyed by `name.namespace`, or by `name.namespace:port` for one port of it. A host that is named
   * here is always a mesh service and never looked up elsewhere.
   */
  readonly services?: Readonly<Record<string, ServiceOptions>>;
  /** Rules of services that have none of their own; single values of a service win over these. */
  readonly defaults?: ServiceOptions;
  /** Where endpoints come from. Default `bpfDiscovery()`: the maps pinned on this node. */
  readonly discovery?: Discovery;
  /** Name of the cluster this process runs in. Default: what the discovery can tell (own address → identity). */
  readonly cluster?: string;
  /** DNS domain of the cluster. Default `cluster.local`. */
  readonly clusterDomain?: string;
  /** Addresses of services by host, instead of asking DNS. Hosts named here are mesh services, as those in `services`. */
  readonly addresses?: Readonly<Record<string, readonly string[]>>;
  readonly dns?: DnsOptions;
  /**
   * How long the endpoints of a service that is not called are kept and followed, in milliseconds. Default 300,000.
   * Services named in `services` are kept as long as the mesh.
   */
  readonly idleServiceMs?: number;
  /** Sees every attempt; the seam for telemetry. */
  readonly observer?: AttemptObserver;
  /** Time, for tests on virtual time. Default: the process's monotonic clock. */
  readonly clock?: Clock;
  /** Chance, for reproducible tests. Default: `Math.random`. */
  readonly random?: Random;
}

/** What may be set for one call: `mesh.fetch(url, { onehop: { … } })`. */
export interface CallOptions {
  /** See {@link ServiceOptions.timeoutMs}. */
  readonly timeoutMs?: number;
  /** See {@link ServiceOptions.perTryTimeoutMs}. */
  readonly perTryTimeoutMs?: number;
  /** The request may be processed twice although its method does not say so, or may not although it does. */
  readonly idempotent?: boolean;
  readonly retry?: { readonly maxAttempts?: number };
}
