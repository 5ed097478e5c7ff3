import type { Endpoint } from "../model/endpoint.js";
import type { Notify } from "../model/event.js";
import type { ServiceRef } from "../model/service-ref.js";

/** The service's own addresses, by its name. */
export interface ServiceAddresses {
  /** Canonical IP addresses, IPv4 first. */
  readonly addresses: readonly string[];
  /** How long they may be kept, in milliseconds. */
  readonly ttlMs: number;
  /** The full name that was found, such as `quotes.energy.svc.cluster.local` for `quotes.energy`. */
  readonly name?: string;
}

/** What is watched: one port of one service. */
export interface WatchTarget {
  readonly service: ServiceRef;
  readonly port: number;
  /**
   * The service's addresses now, from a cache that honours their lifetime.
   *
   * @throws OnehopError `ERR_ONEHOP_NAME`
   */
  readonly addresses: () => Promise<ServiceAddresses>;
}

/** What a discovery says of a target. It repeats itself only when something changed. */
export type DiscoveryUpdate =
  /** A verified view. Empty: the service exists and nothing can be called. */
  | { readonly kind: "view"; readonly endpoints: readonly Endpoint[] }
  /**
   * The service is to be dialled by this address of its own although the source works, such as a frontend that Cilium
   * hands to its L7 proxy.
   */
  | { readonly kind: "service-address"; readonly reason: string; readonly address: string }
  /** The source works and knows no such service. */
  | { readonly kind: "absent"; readonly reason: string }
  /** What was read cannot be trusted; the last good view stays. */
  | { readonly kind: "doubt"; readonly reason: string; readonly error?: Error }
  /** The source cannot be read at present; the last good view stays. */
  | { readonly kind: "unavailable"; readonly reason: string; readonly error?: Error };

/** A running watch. */
export interface DiscoveryWatch {
  /** Tells that the service is in use, so that a polling source reads it often. */
  touch(): void;
  /** Asks for a read at once: a connection failed or an identity does not match. Cheap to call often. */
  refresh(): void;
  close(): void;
}

/** What a mesh lends to its discovery. */
export interface DiscoveryHost {
  readonly notify: Notify;
}

/** A source of endpoints. Factories such as `bpfDiscovery()` make them; one belongs to one mesh. */
export interface Discovery {
  /** Stable short name for events and `explain`. */
  readonly name: string;
  /** Called once by the mesh before anything else. */
  attach(host: DiscoveryHost): void;
  /** Starts watching; `listener` is called first when something is known, never synchronously. */
  watch(target: WatchTarget, listener: (update: DiscoveryUpdate) => void): DiscoveryWatch;
  /**
   * Whether the source knows the target as a service, for hosts that neither configuration nor their own shape calls
   * one.
   *
   * @throws OnehopError when it cannot tell at present
   */
  knows(target: WatchTarget): Promise<boolean>;
  /** The cluster this process runs in, where the source can tell. */
  localCluster(): { readonly number: number | undefined; readonly name: string | undefined } | undefined;
  /** Stops everything; idempotent. */
  close(): Promise<void>;
}
