import { isL7Proxy } from "../cilium/service-flags.js";
import { OnehopError } from "../errors.js";
import type { Endpoint } from "../model/endpoint.js";
import { formatHostPort, ipFamily } from "../model/ip-address.js";
import { buildEndpoints, hasCallable } from "./bpf-endpoints.js";
import type { BpfNode } from "./bpf-node.js";
import type { SettledBpfOptions } from "./bpf-options.js";
import type { DiscoveryUpdate, WatchTarget } from "./discovery.js";
import type { MemberBackend } from "./frontend-check.js";
import { type FrontendPoll, FrontendPoller } from "./frontend-poller.js";
import type { AddressIdentity } from "./identity-lookup.js";

/** How often identities are looked up while the endpoints stay the same, in milliseconds. */
const IDENTITY_MS = 1_000;

/**
 * The same when a look was asked for: an attempt failed, and a pod that is gone may have left its address to another
 * one. Not at each failure, since a service may have thousands of pods.
 */
const ASKED_IDENTITY_MS = 100;

/** Follows one service port in the maps: from its addresses to a frontend, from there to endpoints. */
export class BpfWatch {
  readonly #node: BpfNode;
  readonly #options: SettledBpfOptions;
  readonly #target: WatchTarget;
  readonly #listener: (update: DiscoveryUpdate) => void;
  readonly #pollers = new Map<string, FrontendPoller>();
  #epoch: number;
  /** The address whose frontend is followed. */
  #address: string | undefined;
  #members: readonly MemberBackend[] = [];
  #endpoints: readonly Endpoint[] = [];
  #isRebuilt = false;
  #identitiesAt = Number.NEGATIVE_INFINITY;
  #toldKind: DiscoveryUpdate["kind"] | undefined;
  #toldReason = "";
  #isClosed = false;

  constructor(
    node: BpfNode,
    options: SettledBpfOptions,
    target: WatchTarget,
    listener: (update: DiscoveryUpdate) => void,
  ) {
    this.#node = node;
    this.#options = options;
    this.#target = target;
    this.#listener = listener;
    this.#epoch = node.epoch;
  }

  close(): void {
    this.#isClosed = true;
  }

  /**
   * Looks once and tells what changed. Never rejects.
   *
   * @param isAsked the look was asked for, because something failed
   * @returns whether the maps could be read
   */
  async look(isAsked: boolean): Promise<boolean> {
    try {
      await this.#node.ready();
      const addresses = await this.#addresses();
      if (this.#isClosed) return true;
      this.#noticeReplacedMaps();
      await this.#lookAt(addresses, isAsked);
      return true;
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      this.#tell({ kind: "unavailable", reason: failure.message, error: failure });
      return false;
    }
  }

  /** Whether any of the target's addresses is a frontend. @throws what reading throws */
  async knows(): Promise<boolean> {
    // The name first: what it stands for tells something also where the maps cannot be read.
    const { addresses } = await this.#target.addresses();
    await this.#node.ready();
    this.#noticeReplacedMaps();
    let failure: unknown;
    for (const address of addresses) {
      try {
        // Entries that are in doubt are those of a frontend nevertheless.
        if ((await this.#poller(address).poll()).kind !== "absent") return true;
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    if (this.#node.isRefilling) {
      throw new OnehopError("ERR_ONEHOP_DISCOVERY_UNAVAILABLE", "the maps were replaced and are being filled");
    }
    return false;
  }

  /** The target's addresses. While a frontend is followed, a name that cannot be resolved does not blind the view. */
  async #addresses(): Promise<readonly string[]> {
    try {
      return (await this.#target.addresses()).addresses;
    } catch (error) {
      if (this.#address === undefined) throw error;
      return [this.#address];
    }
  }

  #noticeReplacedMaps(): void {
    if (this.#epoch === this.#node.epoch) return;
    this.#epoch = this.#node.epoch;
    this.#pollers.clear();
    this.#isRebuilt = true;
  }

  /** The followed frontend first, then the other addresses: the first one that is a frontend is followed. */
  async #lookAt(addresses: readonly string[], isAsked: boolean): Promise<void> {
    const followed = this.#address;
    const isStillOurs = followed !== undefined && addresses.includes(followed);
    const inOrder = isStillOurs ? [followed, ...addresses.filter((address) => address !== followed)] : addresses;
    let failure: unknown;
    let absent = 0;
    for (const address of inOrder) {
      let poll: FrontendPoll;
      try {
        poll = await this.#poller(address).poll();
      } catch (error) {
        // Replaced maps were closed for another watch meanwhile: the next look opens the new ones.
        if (this.#epoch !== this.#node.epoch) return;
        if (address === followed) throw error;
        // One family may have no maps; another address may still be found.
        failure ??= error;
        continue;
      }
      if (this.#isClosed) return;
      if (poll.kind === "absent") {
        absent += 1;
        continue;
      }
      if (poll.kind === "replaced") this.#node.expectReplacedMaps();
      else if (poll.kind === "doubt") this.#tell(poll);
      else this.#take(poll, address, isAsked);
      return;
    }
    if (absent === 0 && failure !== undefined) throw failure;
    this.#nothingFound(addresses);
  }

  #take(poll: Extract<FrontendPoll, { kind: "present" }>, address: string, isAsked: boolean): void {
    const isChanged = poll.isChanged || address !== this.#address;
    this.#address = address;
    if (isL7Proxy(poll.master.flags) && this.#options.l7Proxy === "service-address") {
      const frontend = formatHostPort(address, this.#target.port);
      this.#tell({ kind: "service-address", reason: `Cilium hands ${frontend} to its L7 proxy`, address });
      return;
    }
    this.#members = poll.members;
    const now = this.#options.clock.now();
    const isDue = now - this.#identitiesAt >= (isAsked ? ASKED_IDENTITY_MS : IDENTITY_MS);
    if (!isChanged && !isDue && this.#toldKind === "view") return;
    this.#identitiesAt = now;
    this.#tellView();
  }

  #tellView(): void {
    const identities = new Map<string, AddressIdentity>();
    const identityOf = (address: string): AddressIdentity => {
      const known = identities.get(address) ?? this.#node.identityOf(address);
      identities.set(address, known);
      return known;
    };
    const endpoints = buildEndpoints(this.#members, identityOf, this.#endpoints, this.#isRebuilt, this.#options);
    this.#isRebuilt = false;
    this.#endpoints = endpoints;
    this.#tell({ kind: "view", endpoints: hasCallable(endpoints) ? endpoints : [] });
  }

  #nothingFound(addresses: readonly string[]): void {
    const frontends = addresses.map((address) => formatHostPort(address, this.#target.port)).join(", ");
    if (this.#node.isRefilling && this.#endpoints.length > 0) {
      this.#tell({ kind: "unavailable", reason: `the maps were replaced and do not hold ${frontends} yet` });
      return;
    }
    this.#address = undefined;
    this.#tell({ kind: "absent", reason: `no frontend ${frontends} in the maps` });
  }

  /** Views are told each time, since the receiver compares them; everything else when it changes. */
  #tell(update: DiscoveryUpdate): void {
    if (this.#isClosed) return;
    const reason = "reason" in update ? update.reason : "";
    const isNews = update.kind === "view" || update.kind !== this.#toldKind || reason !== this.#toldReason;
    this.#toldKind = update.kind;
    this.#toldReason = reason;
    if (isNews) this.#listener(update);
  }

  #poller(address: string): FrontendPoller {
    const known = this.#pollers.get(address);
    if (known !== undefined) return known;
    const maps = this.#node.family(ipFamily(address) ?? 4);
    const poller = new FrontendPoller(maps, address, this.#target.port, this.#options.clock);
    this.#pollers.set(address, poller);
    return poller;
  }
}
