import { networkInterfaces } from "node:os";
import { FALLBACK_PIN_DIRECTORY, PIN_DIRECTORY } from "../cilium/cilium-maps.js";
import { closedError, isOnehopError } from "../errors.js";
import type { Kernel } from "../kernel/kernel.js";
import { openKernel } from "../kernel/open-kernel.js";
import type { Notify } from "../model/event.js";
import { clusterOfIdentity } from "../model/identity.js";
import type { IpFamily } from "../model/ip-address.js";
import type { SettledBpfOptions } from "./bpf-options.js";
import { type AddressIdentity, lookUpIdentity } from "./identity-lookup.js";
import { CiliumMapSet, type FamilyMaps } from "./map-set.js";

/** How often the pins are looked at, in milliseconds. */
const PIN_CHECK_MS = 1_000;

/**
 * How long after the maps were replaced a missing service is taken for one that Cilium has not written yet, in
 * milliseconds: its agent waits up to a minute for the cluster mesh before it trims what it restored.
 */
const REFILL_MS = 60_000;

/** How long the own cluster is taken for known, in milliseconds. */
const LOCAL_CLUSTER_MS = 10_000;

/** How often it is looked for while it is not known, in milliseconds: Cilium enters a new pod within a second or so. */
const NO_LOCAL_CLUSTER_MS = 1_000;

/** The maps of this node, shared by all watches of a discovery. */
export class BpfNode {
  readonly #options: SettledBpfOptions;
  readonly #notify: Notify;
  #kernel: Kernel | undefined;
  #maps: CiliumMapSet | undefined;
  #isClosed = false;
  #opening: Promise<void> | undefined;
  #pinsCheckedAt = Number.NEGATIVE_INFINITY;
  #replacedAt = Number.NEGATIVE_INFINITY;
  #epoch = 0;
  #localClusterNumber: number | undefined;
  #localClusterAt = Number.NEGATIVE_INFINITY;

  constructor(options: SettledBpfOptions, notify: Notify) {
    this.#options = options;
    this.#notify = notify;
  }

  /** Counts how often the maps were replaced: readers of another epoch are closed. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Whether the maps were replaced so recently that Cilium may still be filling them. */
  get isRefilling(): boolean {
    return this.#options.clock.now() - this.#replacedAt < REFILL_MS;
  }

  /** Number and name of the cluster this process runs in, as far as its own address tells. */
  get localCluster(): { readonly number: number | undefined; readonly name: string | undefined } | undefined {
    const number = this.#localClusterNumber;
    return number === undefined ? undefined : { number, name: this.#options.clusters[number] };
  }

  /**
   * Makes the maps ready for a look: opens the kernel once, and notices replaced pins.
   *
   * @throws OnehopError `ERR_ONEHOP_KERNEL`
   */
  async ready(): Promise<void> {
    if (this.#maps === undefined) {
      this.#opening ??= this.#open();
      try {
        await this.#opening;
      } finally {
        this.#opening = undefined;
      }
    }
    this.#checkPins();
    this.#findLocalCluster();
  }

  /** A watch found that the maps were replaced: the next look notices it at once. */
  expectReplacedMaps(): void {
    this.#pinsCheckedAt = Number.NEGATIVE_INFINITY;
  }

  /** @throws OnehopError `ERR_ONEHOP_KERNEL` */
  family(family: IpFamily): FamilyMaps {
    if (this.#maps === undefined) throw new Error("the maps are not ready");
    return this.#maps.family(family);
  }

  /** The identity of an address; unknown where the ipcache cannot be read, which is told once. */
  identityOf(address: string): AddressIdentity {
    try {
      if (this.#maps !== undefined) return lookUpIdentity(this.#maps.ipcache(), address);
    } catch (error) {
      if (!isOnehopError(error)) throw error;
      this.#notify({ type: "warning", message: `identities cannot be read: ${error.message}`, error });
    }
    return { identity: undefined, node: undefined };
  }

  close(): void {
    this.#isClosed = true;
    this.#maps?.close();
    this.#maps = undefined;
  }

  async #open(): Promise<void> {
    this.#kernel ??= this.#options.kernel ?? (await openKernel());
    if (this.#isClosed) throw closedError();
    this.#maps = new CiliumMapSet(this.#kernel, this.#pinDirectory(this.#kernel));
  }

  #pinDirectory(kernel: Kernel): string {
    if (this.#options.pinDirectory !== undefined) return this.#options.pinDirectory;
    const isThere = (directory: string): boolean =>
      [4, 6].some((family) => kernel.pinStamp(`${directory}/cilium_lb${family}_services_v2`) !== undefined);
    return !isThere(PIN_DIRECTORY) && isThere(FALLBACK_PIN_DIRECTORY) ? FALLBACK_PIN_DIRECTORY : PIN_DIRECTORY;
  }

  #checkPins(): void {
    const now = this.#options.clock.now();
    if (this.#maps === undefined || now - this.#pinsCheckedAt < PIN_CHECK_MS) return;
    this.#pinsCheckedAt = now;
    const replaced = this.#maps.closeReplaced();
    if (replaced.length === 0) return;
    this.#replacedAt = now;
    this.#epoch += 1;
    for (const path of replaced) this.#notify({ type: "reopen", source: "bpf", path });
  }

  #findLocalCluster(): void {
    const now = this.#options.clock.now();
    const lifetimeMs = this.#localClusterNumber === undefined ? NO_LOCAL_CLUSTER_MS : LOCAL_CLUSTER_MS;
    if (now - this.#localClusterAt < lifetimeMs) return;
    this.#localClusterAt = now;
    for (const address of this.#options.ownAddresses ?? interfaceAddresses()) {
      const number = this.identityOf(address).identity?.number;
      const cluster = number === undefined ? undefined : clusterOfIdentity(number, this.#options.maxConnectedClusters);
      if (cluster === undefined) continue;
      this.#localClusterNumber = cluster;
      return;
    }
  }
}

/** The addresses of this pod, without loopback and link-local ones. */
function interfaceAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
    .map(({ address }) => address);
}
