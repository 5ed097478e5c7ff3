import type { Clock, Timer } from "../clock.js";
import { isOnehopError, OnehopError } from "../errors.js";
import { type Endpoint, endpointKey } from "../model/endpoint.js";
import type { Notify, ViewState } from "../model/event.js";
import { ipFamily } from "../model/ip-address.js";
import { UNKNOWN_LOCALITY } from "../model/locality.js";
import { diffSnapshots, nextSnapshot, type Snapshot } from "../model/snapshot.js";
import type { Discovery, DiscoveryUpdate, DiscoveryWatch, WatchTarget } from "./discovery.js";

export interface ServiceViewOptions {
  readonly clock: Clock;
  readonly notify: Notify;
  /**
   * How long the last good view is kept when the source says, verified, that the service is empty or gone, in
   * milliseconds: a restart of the source must not fail calls, and an address that was given up must not be called for
   * long.
   */
  readonly emptyGraceMs: number;
  /** Always dial the service's own address. */
  readonly dialService: boolean;
  /** A new snapshot was adopted, or the state changed. */
  readonly onChange: () => void;
}

/** Where views of the service's own address come from. */
const SERVICE_ADDRESS = "service-address";

/** Why the service's own address is dialled. */
interface FallBackCause {
  readonly reason: string;
  readonly error?: Error | undefined;
  /** The source says, verified and for longer than the grace, that it knows no such service. */
  readonly isGone?: boolean;
}

/** How long to wait before asking again for a service address that could not be resolved. */
const ADDRESS_RETRY_MS = 1_000;

/**
 * The effective view of one service port: what its discovery says, held to the rule that the last good view wins, with
 * the service's own address as the last rung.
 *
 * - A view that cannot be read or trusted never replaces one that could (`stale`).
 * - A verified empty service keeps its last endpoints for a grace, then is `empty`.
 * - A service the source does not know keeps them for the grace too, and is then dialled by its own address.
 * - Without any view the service's own address is dialled at once, so that calls are never worse off than without
 *   onehop.
 */
export class ServiceView {
  readonly target: WatchTarget;
  readonly #options: ServiceViewOptions;
  readonly #source: string;
  readonly #watch: DiscoveryWatch | undefined;
  #state: ViewState = "pending";
  #reason = "";
  #error: Error | undefined;
  #snapshot: Snapshot | undefined;
  #graceTimer: Timer | undefined;
  /** What follows when the grace is over, by what the source said last. */
  #afterGrace: () => void = () => undefined;
  #addressTimer: Timer | undefined;
  /** Counts the changes of course, so that a late answer of an abandoned one is ignored. */
  #course = 0;
  #isClosed = false;

  constructor(discovery: Discovery, target: WatchTarget, options: ServiceViewOptions) {
    this.target = target;
    this.#options = options;
    this.#source = discovery.name;
    if (options.dialService) this.#fallBack({ reason: 'configured with dial: "service"' });
    else this.#watch = discovery.watch(target, (update) => this.apply(update));
  }

  get state(): ViewState {
    return this.#state;
  }

  /** Why the view is in its state. */
  get reason(): string {
    return this.#reason;
  }

  /** The error behind the state, where there is one. */
  get error(): Error | undefined {
    return this.#error;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  /** The service is in use. */
  touch(): void {
    this.#watch?.touch();
  }

  /** Asks the source for a read at once. */
  refresh(): void {
    this.#watch?.refresh();
  }

  close(): void {
    this.#isClosed = true;
    this.#watch?.close();
    this.#graceTimer?.cancel();
    this.#addressTimer?.cancel();
  }

  /** Takes what the source says. */
  apply(update: DiscoveryUpdate): void {
    if (this.#isClosed) return;
    switch (update.kind) {
      case "view":
        if (update.endpoints.length > 0) this.#adopt(update.endpoints);
        else this.#holdOr("the service has no endpoints", () => this.#becomeEmpty());
        return;
      case "absent":
        this.#holdOr(update.reason, () => this.#fallBack({ reason: update.reason, isGone: true }));
        return;
      case "service-address":
        this.#stopGrace();
        this.#dialService(update.address, update.reason);
        return;
      case "doubt":
        this.#notifyDoubt(update.reason, update.error);
        this.#keepOrFallBack(update.reason, update.error);
        return;
      case "unavailable":
        this.#keepOrFallBack(update.reason, update.error);
        return;
    }
  }

  #adopt(endpoints: readonly Endpoint[]): void {
    this.#stopGrace();
    this.#stopAddresses();
    this.#setSnapshot(nextSnapshot(this.#snapshot, this.#source, endpoints));
    this.#setState("endpoints", "a verified view was read");
  }

  /**
   * Keeps the endpoints of the source for the grace, then does `after`; does it at once when there are none. The grace
   * starts when the source says so first: a source may repeat itself, and may fail meanwhile.
   */
  #holdOr(reason: string, after: () => void): void {
    if (!this.#hasSourceView()) {
      after();
      return;
    }
    this.#afterGrace = after;
    this.#graceTimer ??= this.#options.clock.setBackgroundTimer(this.#options.emptyGraceMs, () => {
      this.#graceTimer = undefined;
      this.#afterGrace();
    });
    this.#setState("stale", reason);
  }

  #keepOrFallBack(reason: string, error: Error | undefined): void {
    if (this.#hasSourceView()) this.#setState("stale", reason, error);
    else this.#fallBack({ reason, error });
  }

  #hasSourceView(): boolean {
    return this.#snapshot?.source === this.#source && this.#snapshot.endpoints.length > 0;
  }

  #becomeEmpty(): void {
    this.#stopAddresses();
    this.#setSnapshot(nextSnapshot(this.#snapshot, this.#source, []));
    this.#setState("empty", "the service has no endpoints");
  }

  /** Dials the address the source named: no name is asked, and the pods are left at once. */
  #dialService(address: string, reason: string): void {
    this.#stopAddresses();
    this.#setSnapshot(nextSnapshot(this.#snapshot, SERVICE_ADDRESS, [serviceEndpoint(address, this.target.port)]));
    this.#setState(SERVICE_ADDRESS, reason);
  }

  /** Dials the service's own address from now on, and follows its DNS lifetime. */
  #fallBack(cause: FallBackCause): void {
    this.#stopAddresses();
    const course = this.#course;
    const isCurrent = (): boolean => !this.#isClosed && course === this.#course;
    this.target.addresses().then(
      ({ addresses, ttlMs }) => {
        if (isCurrent()) this.#adoptAddresses(addresses, ttlMs, cause);
      },
      (failure: unknown) => {
        if (isCurrent()) this.#addressesFailed(failure, cause);
      },
    );
  }

  #adoptAddresses(addresses: readonly string[], ttlMs: number, cause: FallBackCause): void {
    const endpoints = addresses.map((address) => serviceEndpoint(address, this.target.port));
    this.#setSnapshot(nextSnapshot(this.#snapshot, SERVICE_ADDRESS, endpoints));
    this.#setState(SERVICE_ADDRESS, cause.reason, cause.error);
    this.#addressTimer = this.#options.clock.setBackgroundTimer(ttlMs, () => this.#fallBack(cause));
  }

  /** What was dialled so far is kept, but not when the service or its name is known to be gone. */
  #addressesFailed(failure: unknown, cause: FallBackCause): void {
    const isGone = cause.isGone === true || (isOnehopError(failure) && failure.reason === "not-found");
    if (isGone && this.#snapshot !== undefined) this.#setSnapshot(nextSnapshot(this.#snapshot, SERVICE_ADDRESS, []));
    if (this.#snapshot === undefined || this.#snapshot.endpoints.length === 0) {
      const message = `no endpoints (${cause.reason}) and no service address: ${failure instanceof Error ? failure.message : String(failure)}`;
      const error = new OnehopError("ERR_ONEHOP_DISCOVERY_UNAVAILABLE", message, { cause: failure });
      this.#setState("unavailable", message, error);
    }
    this.#addressTimer = this.#options.clock.setBackgroundTimer(ADDRESS_RETRY_MS, () => this.#fallBack(cause));
  }

  #setSnapshot(next: Snapshot): void {
    if (next === this.#snapshot) return;
    const diff = diffSnapshots(this.#snapshot, next);
    this.#snapshot = next;
    this.#options.onChange();
    const { service, port } = this.target;
    this.#options.notify({
      type: "endpoints",
      service: service.id,
      port,
      source: next.source,
      generation: next.generation,
      diff,
    });
  }

  #setState(state: ViewState, reason: string, error?: Error): void {
    const previous = this.#state;
    this.#reason = reason;
    this.#error = error;
    if (state === previous) return;
    this.#state = state;
    this.#options.onChange();
    const { service, port } = this.target;
    this.#options.notify({
      type: "discovery",
      service: service.id,
      port,
      state,
      previous,
      source: state === SERVICE_ADDRESS ? SERVICE_ADDRESS : this.#source,
      reason,
      ...(error === undefined ? {} : { error }),
    });
  }

  #notifyDoubt(reason: string, error: Error | undefined): void {
    const { service, port } = this.target;
    this.#options.notify({
      type: "doubt",
      service: service.id,
      port,
      source: this.#source,
      reason,
      ...(error === undefined ? {} : { error }),
    });
  }

  #stopGrace(): void {
    this.#graceTimer?.cancel();
    this.#graceTimer = undefined;
  }

  #stopAddresses(): void {
    this.#course += 1;
    this.#addressTimer?.cancel();
    this.#addressTimer = undefined;
  }
}

function serviceEndpoint(address: string, port: number): Endpoint {
  return {
    key: endpointKey(0, address, port),
    backendId: 0,
    address,
    port,
    family: ipFamily(address) ?? 4,
    state: "active",
    identity: undefined,
    locality: UNKNOWN_LOCALITY,
    kind: "service",
  };
}
