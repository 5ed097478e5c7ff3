import * as v from "valibot";
import { type Clock, systemClock } from "../clock.js";
import type { Kernel } from "../kernel/kernel.js";
import type { MaxConnectedClusters } from "../model/identity.js";
import { parseIpAddress } from "../model/ip-address.js";
import { checkOptions, duration, holder, type Schema, shown, strict, text } from "../validation.js";

/** Options of `bpfDiscovery`. Everything is optional. */
export interface BpfDiscoveryOptions {
  /**
   * Where Cilium's maps are pinned. Default `/sys/fs/bpf/tc/globals`, else `/run/cilium/bpffs/tc/globals`, which the agent
   * uses when the first is no bpffs.
   */
  readonly pinDirectory?: string;
  /**
   * Names of clusters by their number (`cluster-id`): the maps hold numbers only. Clusters without a name appear as
   * `#number`.
   */
  readonly clusters?: Readonly<Record<number, string>>;
  /** Names of zones by Cilium's numeric zone id (agent option `fixed-zone-mapping`). Others appear as `#id`. */
  readonly zones?: Readonly<Record<number, string>>;
  /**
   * `max-connected-clusters` of the mesh, 255 (default, as Cilium's) or 511: decides which bits of an identity are the
   * cluster's number. It stands in no map.
   */
  readonly maxConnectedClusters?: MaxConnectedClusters;
  /**
   * How often a service that is called is looked at, in milliseconds. Default 250: a look costs about two microseconds a
   * backend, and a change is routed within a third of a second.
   */
  readonly pollMs?: number;
  /** How often a service that was not called for `quietAfterMs` is looked at, in milliseconds. Default 2,000. */
  readonly quietPollMs?: number;
  /** After how long without a call a service counts as quiet, in milliseconds. Default 10,000. */
  readonly quietAfterMs?: number;
  /**
   * What to dial for a frontend that Cilium hands to its L7 proxy: `service-address` (default), or its policies would
   * be bypassed; or `pods`.
   */
  readonly l7Proxy?: "service-address" | "pods";
  /** Addresses of this pod, which tell the own cluster. Default: those of its network interfaces. */
  readonly ownAddresses?: readonly string[];
  /** The kernel to read from. Default: this machine's, by bpf(2), which needs the optional package `koffi`. */
  readonly kernel?: Kernel;
  /** Time, for tests on virtual time. */
  readonly clock?: Clock;
}

/** The options with every default settled; what stays open is found out at run time. */
export interface SettledBpfOptions
  extends Required<Omit<BpfDiscoveryOptions, "pinDirectory" | "ownAddresses" | "kernel">> {
  readonly pinDirectory: string | undefined;
  readonly ownAddresses: readonly string[] | undefined;
  readonly kernel: Kernel | undefined;
}

const numberedNames = (most: number): v.GenericSchema<unknown, Record<number, string>> =>
  v.custom<Record<number, string>>(
    (value) =>
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      Object.entries(value).every(
        ([key, name]) => /^\d{1,3}$/.test(key) && Number(key) <= most && typeof name === "string" && name !== "",
      ),
    (issue) => `expected names by number up to ${most}, such as { 1: "eu-west-1" }, got ${shown(issue.input)}`,
  );
const address = text("an IP address", (value) => parseIpAddress(value) !== undefined);

const schema = strict({
  pinDirectory: v.exactOptional(text("the path of a directory", (value) => value !== "")),
  clusters: v.exactOptional(numberedNames(511)),
  zones: v.exactOptional(numberedNames(255)),
  maxConnectedClusters: v.exactOptional(
    v.picklist([255, 511], (issue) => `expected 255 or 511, got ${shown(issue.input)}`),
  ),
  pollMs: v.exactOptional(duration),
  quietPollMs: v.exactOptional(duration),
  quietAfterMs: v.exactOptional(duration),
  l7Proxy: v.exactOptional(
    v.picklist(
      ["service-address", "pods"],
      (issue) => `expected "service-address" or "pods", got ${shown(issue.input)}`,
    ),
  ),
  ownAddresses: v.exactOptional(v.array(address, (issue) => `expected a list of addresses, got ${shown(issue.input)}`)),
  kernel: v.exactOptional(holder("open", "a kernel")),
  clock: v.exactOptional(holder("now", "a clock")),
});

/** @throws OnehopError `ERR_ONEHOP_CONFIG` naming each wrong option */
export function settleBpfOptions(given: unknown): SettledBpfOptions {
  const options = checkOptions(schema as unknown as Schema<BpfDiscoveryOptions>, given, "options", "bpfDiscovery");
  return {
    pinDirectory: options.pinDirectory,
    clusters: options.clusters ?? {},
    zones: options.zones ?? {},
    maxConnectedClusters: options.maxConnectedClusters ?? 255,
    pollMs: options.pollMs ?? 250,
    quietPollMs: options.quietPollMs ?? 2_000,
    quietAfterMs: options.quietAfterMs ?? 10_000,
    l7Proxy: options.l7Proxy ?? "service-address",
    ownAddresses: options.ownAddresses,
    kernel: options.kernel,
    clock: options.clock ?? systemClock,
  };
}
