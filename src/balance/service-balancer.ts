import type { Endpoint } from "../model/endpoint.js";
import type { Notify } from "../model/event.js";
import { diffSnapshots, type Snapshot } from "../model/snapshot.js";
import { type IdentityExpectation, judgeIdentities } from "../policy/identity-expectation.js";
import { type LocalCluster, type LocalityOrder, localityTiers } from "../policy/locality-tiers.js";
import { EndpointLoad } from "./endpoint-load.js";
import { EMPTY_PICKER, Picker } from "./picker.js";

export interface ServiceBalancerOptions {
  /** The service's id, for events. */
  readonly service: string;
  readonly order: LocalityOrder;
  readonly expectIdentity: IdentityExpectation | undefined;
  /** The cluster this process runs in, as far as it is known. */
  readonly localCluster: () => LocalCluster | undefined;
  readonly notify: Notify;
  /** An endpoint left the view, or gets no new calls any more: idle connections close, running calls finish. */
  readonly onDrain: (key: string) => void;
}

/**
 * Turns the snapshots of one service into pickers, and keeps what was learned of an endpoint as long as its key is in
 * the view.
 */
export class ServiceBalancer {
  readonly #options: ServiceBalancerOptions;
  readonly #loads = new Map<string, EndpointLoad>();
  readonly #refused = new Set<string>();
  /** Mismatches that were told, so that each is told once. */
  readonly #mismatched = new Set<string>();
  #snapshot: Snapshot | undefined;
  #picker: Picker = EMPTY_PICKER;
  #localCluster: LocalCluster | undefined;

  constructor(options: ServiceBalancerOptions) {
    this.#options = options;
  }

  /** The picker of the newest view; replaced, never changed. */
  get picker(): Picker {
    return this.#picker;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  /** Everything known, with what was learned, in the order of the snapshot. */
  get loads(): readonly EndpointLoad[] {
    return this.#loadsOf(this.#snapshot?.endpoints ?? []);
  }

  /** Whether the endpoint is kept out because its identity is not the expected one. */
  isRefused(key: string): boolean {
    return this.#refused.has(key);
  }

  /** Adopts a view. The same snapshot again changes nothing (trap T-48). */
  adopt(snapshot: Snapshot): void {
    if (snapshot === this.#snapshot) return;
    const diff = diffSnapshots(this.#snapshot, snapshot);
    this.#snapshot = snapshot;
    for (const endpoint of diff.removed) this.#loads.delete(endpoint.key);
    for (const endpoint of diff.added) this.#loads.set(endpoint.key, new EndpointLoad(endpoint));
    for (const { after } of diff.changed) {
      const load = this.#loads.get(after.key);
      if (load !== undefined) load.endpoint = after;
    }
    this.#rebuild(snapshot);
    for (const endpoint of diff.removed) this.#options.onDrain(endpoint.key);
    for (const { before, after } of diff.changed) {
      if (before.state === "active" && after.state !== "active") this.#options.onDrain(after.key);
    }
  }

  /** The own cluster may become known after the view: then the tiers are others. Cheap to call often. */
  noticeLocalCluster(): void {
    const local = this.#options.localCluster();
    const isSame = local?.number === this.#localCluster?.number && local?.name === this.#localCluster?.name;
    if (!isSame && this.#snapshot !== undefined) this.#rebuild(this.#snapshot);
  }

  #rebuild(snapshot: Snapshot): void {
    this.#localCluster = this.#options.localCluster();
    const callable = this.#judge(snapshot.endpoints);
    const active = callable.filter((endpoint) => endpoint.state === "active");
    const terminating = callable.filter((endpoint) => endpoint.state === "terminating");
    const tiers = localityTiers(active, this.#options.order, this.#localCluster);
    this.#picker = new Picker(
      tiers.map((tier) => this.#loadsOf(tier)),
      this.#loadsOf(terminating),
    );
  }

  /** The endpoints whose identity allows a call; tells of each that newly mismatches. */
  #judge(endpoints: readonly Endpoint[]): readonly Endpoint[] {
    const { expectIdentity, notify, service } = this.#options;
    if (expectIdentity === undefined) return endpoints;
    const { allowed, refused, mismatched, obeyed } = judgeIdentities(expectIdentity, endpoints);
    const before = new Set(this.#refused);
    this.#refused.clear();
    for (const endpoint of refused) {
      this.#refused.add(endpoint.key);
      if (!before.has(endpoint.key)) this.#options.onDrain(endpoint.key);
    }
    const told = new Set(this.#mismatched);
    this.#mismatched.clear();
    for (const endpoint of mismatched) {
      const identity = endpoint.identity?.number ?? 0;
      const tellKey = `${endpoint.key} ${identity} ${obeyed}`;
      this.#mismatched.add(tellKey);
      if (!told.has(tellKey)) notify({ type: "identity-mismatch", service, endpoint, identity, obeyed });
    }
    return allowed;
  }

  #loadsOf(endpoints: readonly Endpoint[]): EndpointLoad[] {
    return endpoints.map((endpoint) => this.#loads.get(endpoint.key)).filter((load) => load !== undefined);
  }
}
