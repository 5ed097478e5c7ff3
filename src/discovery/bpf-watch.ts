import { isL7Proxy } from "../cilium/service-flags.js";
import { isOnehopError } from "../errors.js";
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

  /** Looks once and tells what changed. Never rejects. */
  async look(): Promise<void> {
    try {
      await this.#node.ready();
      const { addresses } = await this.#target.addresses();
      if (this.#isClosed) return;
      this.#noticeReplacedMaps();
      await this.#lookAt(addresses);
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      this.#tell({ kind: "unavailable", reason: failure.message, error: failure });
    }
  }

  /** Whether any of the target's addresses is a frontend. @throws what reading throws */
  async knows(): Promise<boolean> {
    await this.#node.ready();
    const { addresses } = await this.#target.addresses();
    this.#noticeReplacedMaps();
    const [found, failure] = this.#someAddress(addresses, (poller) => poller.isPresent());
    if (!found && failure !== undefined) throw failure;
    return found;
  }

  #noticeReplacedMaps(): void {
    if (this.#epoch === this.#node.epoch) return;
    this.#epoch = this.#node.epoch;
    this.#pollers.clear();
    this.#isRebuilt = true;
  }

  /** The followed frontend first, then the other addresses: the first one that is a frontend is followed. */
  async #lookAt(addresses: readonly string[]): Promise<void> {
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
        // One family may have no maps; another address may still be found.
        failure ??= error;
        continue;
      }
      if (this.#isClosed) return;
      if (poll.kind === "absent" || (poll.kind === "unchanged" && address !== followed)) {
        absent += 1;
        continue;
      }
      this.#address = poll.kind === "doubt" ? followed : address;
      this.#take(poll);
      return;
    }
    if (absent === 0 && failure !== undefined) throw failure;
    this.#nothingFound(addresses);
  }

  #take(poll: Exclude<FrontendPoll, { kind: "absent" }>): void {
    if (poll.kind === "doubt") {
      this.#tell(poll);
      return;
    }
    if (poll.kind === "present") {
      if (isL7Proxy(poll.master.flags) && this.#options.l7Proxy === "service-address") {
        this.#members = [];
        this.#tell({ kind: "service-address", reason: "Cilium hands this frontend to its L7 proxy" });
        return;
      }
      this.#members = poll.members;
    } else if (this.#toldKind === "service-address") {
      return;
    }
    const now = this.#options.clock.now();
    const isDue = now - this.#identitiesAt >= IDENTITY_MS;
    if (poll.kind === "unchanged" && !isDue && this.#toldKind === "view") return;
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

  #someAddress(
    addresses: readonly string[],
    accepts: (poller: FrontendPoller) => boolean,
  ): readonly [boolean, unknown] {
    let failure: unknown;
    for (const address of addresses) {
      try {
        if (accepts(this.#poller(address))) return [true, failure];
      } catch (error) {
        if (!isOnehopError(error)) throw error;
        failure ??= error;
      }
    }
    return [false, failure];
  }
}
