import { ServiceBalancer } from "../balance/service-balancer.js";
import type { Clock } from "../clock.js";
import type { Discovery, WatchTarget } from "../discovery/discovery.js";
import { ServiceView } from "../discovery/service-view.js";
import { OnehopError } from "../errors.js";
import type { Notify } from "../model/event.js";
import type { IdentityExpectation } from "../policy/identity-expectation.js";
import type { LocalityOrder } from "../policy/locality-tiers.js";
import { RetryBudget, type RetryBudgetOptions } from "../policy/retry-budget.js";
import type { RetryConcurrencyOptions } from "../policy/retry-concurrency.js";
import type { Random } from "../random.js";
import type { CallPolicy, CallService, ViewWaiter } from "./call-service.js";
import type { AttemptObserver } from "./observer.js";
import { RetryGate } from "./retry-gate.js";

/** The rules of one service that do not depend on the protocol, all values settled. */
export interface ServicePolicy extends CallPolicy {
  readonly retryBudget: RetryBudgetOptions;
  readonly retryConcurrency: RetryConcurrencyOptions;
  readonly localityOrder: LocalityOrder;
  readonly expectIdentity: IdentityExpectation | undefined;
  readonly dial: "auto" | "service";
  readonly emptyGraceMs: number;
}

export interface ServiceRuntimeOptions {
  readonly target: WatchTarget;
  readonly policy: ServicePolicy;
  readonly discovery: Discovery;
  /** Name of the own cluster from configuration; else the discovery may tell. */
  readonly cluster: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly notify: Notify;
  readonly observer: AttemptObserver | undefined;
}

/** How often a call tells the view that the service is in use, at most. */
const TOUCH_INTERVAL_MS = 1_000;

/** Everything that lives as long as one service port is in use: view, balancer, budget, gate. */
export class ServiceRuntime implements CallService {
  readonly id: string;
  readonly port: number;
  readonly policy: ServicePolicy;
  readonly balancer: ServiceBalancer;
  readonly budget: RetryBudget;
  readonly gate: RetryGate;
  readonly clock: Clock;
  readonly random: Random;
  readonly notify: Notify;
  readonly observer: AttemptObserver | undefined;
  readonly view: ServiceView;
  readonly #waiters: Set<ViewWaiter> = new Set();
  readonly #drainListeners: Set<(key: string) => void> = new Set();
  #lastUsedAt: number;
  #touchedAt: number;

  constructor(options: ServiceRuntimeOptions) {
    const { target, policy, clock } = options;
    this.id = target.service.id;
    this.port = target.port;
    this.policy = policy;
    this.clock = clock;
    this.random = options.random;
    this.notify = options.notify;
    this.observer = options.observer;
    this.#lastUsedAt = clock.now();
    this.#touchedAt = this.#lastUsedAt;
    this.budget = new RetryBudget(policy.retryBudget, this.#lastUsedAt);
    this.gate = new RetryGate(policy.retryConcurrency);
    this.balancer = new ServiceBalancer({
      service: this.id,
      order: policy.localityOrder,
      expectIdentity: policy.expectIdentity,
      localCluster: () =>
        options.cluster === undefined ? options.discovery.localCluster() : { number: undefined, name: options.cluster },
      notify: options.notify,
      onDrain: (key) => {
        for (const listener of this.#drainListeners) listener(key);
      },
    });
    this.view = new ServiceView(options.discovery, target, {
      clock,
      notify: options.notify,
      emptyGraceMs: policy.emptyGraceMs,
      dialService: policy.dial === "service",
      onChange: () => this.#viewChanged(),
    });
  }

  /** Settled is also a service of which nothing can be called, `unavailable` or `empty`. */
  get isSettled(): boolean {
    return this.view.state !== "pending";
  }

  /** Monotonic time of the last call. */
  get lastUsedAt(): number {
    return this.#lastUsedAt;
  }

  /** A call begins. */
  use(): void {
    const now = this.clock.now();
    this.#lastUsedAt = now;
    if (now - this.#touchedAt < TOUCH_INTERVAL_MS) return;
    this.#touchedAt = now;
    this.view.touch();
    this.balancer.noticeLocalCluster();
  }

  refresh(): void {
    this.view.refresh();
  }

  waitForView(waiter: ViewWaiter): void {
    this.#waiters.add(waiter);
  }

  stopWaiting(waiter: ViewWaiter): void {
    this.#waiters.delete(waiter);
  }

  /** Calls `listener` with the key of each endpoint that gets no new calls any more. */
  onDrain(listener: (key: string) => void): void {
    this.#drainListeners.add(listener);
  }

  unavailableError(): Error {
    const { state, reason, error } = this.view;
    if (state === "unavailable" && error !== undefined) return error;
    return new OnehopError(
      "ERR_ONEHOP_NO_ENDPOINTS",
      `${this.id}:${this.port} has no endpoint that may be called (${this.#emptyReason(reason)})`,
      { reason: state },
    );
  }

  close(): void {
    this.view.close();
  }

  #emptyReason(reason: string): string {
    const endpoints = this.view.snapshot?.endpoints ?? [];
    if (endpoints.length === 0) return reason;
    const refused = endpoints.filter((endpoint) => this.balancer.isRefused(endpoint.key)).length;
    return `${endpoints.length} known, none active${refused > 0 ? `, ${refused} refused for their identity` : ""}`;
  }

  #viewChanged(): void {
    const { snapshot } = this.view;
    if (snapshot !== undefined) this.balancer.adopt(snapshot);
    if (!this.isSettled || this.#waiters.size === 0) return;
    const waiting = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiting) waiter.viewReady();
  }
}
