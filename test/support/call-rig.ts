import { ServiceBalancer } from "../../src/balance/service-balancer.js";
import type { Attempt } from "../../src/call/attempt.js";
import type { AttemptFailure, AttemptResponse } from "../../src/call/attempt-failure.js";
import { Call, type CallDriver } from "../../src/call/call.js";
import type { CallPolicy, CallService, ViewWaiter } from "../../src/call/call-service.js";
import { RetryGate } from "../../src/call/retry-gate.js";
import { OnehopError } from "../../src/errors.js";
import type { Endpoint } from "../../src/model/endpoint.js";
import type { MeshEvent, MeshEventOf, MeshEventType } from "../../src/model/event.js";
import { nextSnapshot } from "../../src/model/snapshot.js";
import { DEFAULT_BACKOFF, THROTTLED_BACKOFF } from "../../src/policy/backoff.js";
import type { LocalityOrder } from "../../src/policy/locality-tiers.js";
import { DEFAULT_RETRY_BUDGET, RetryBudget, type RetryBudgetOptions } from "../../src/policy/retry-budget.js";
import { DEFAULT_RETRY_CONCURRENCY, type RetryConcurrencyOptions } from "../../src/policy/retry-concurrency.js";
import { type Random, seededRandom } from "../../src/random.js";
import { ManualClock } from "./manual-clock.js";
import { makeEndpoint } from "./policy-endpoint.js";

export const POLICY: CallPolicy = {
  timeoutMs: 1_000,
  perTryTimeoutMs: undefined,
  maxAttempts: 3,
  backoff: DEFAULT_BACKOFF,
  throttledBackoff: THROTTLED_BACKOFF,
  spread: "same-then-other",
};

export const REFUSED: AttemptFailure = {
  class: "never-left",
  kind: "connect",
  error: Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }),
  staleConnection: false,
};

export const RESET: AttemptFailure = {
  class: "maybe-processed",
  kind: "other",
  error: Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }),
  staleConnection: false,
};

/** A connection that had served before and broke before a byte of the answer. */
export const STALE: AttemptFailure = { ...RESET, staleConnection: true };

export function answer(status: number, more: Partial<AttemptResponse> = {}): AttemptResponse {
  return {
    status,
    isFailure: status >= 500,
    isRetriable: [429, 502, 503, 504].includes(status),
    isThrottled: status === 429,
    retryAfterMs: undefined,
    ...more,
  };
}

export interface RigOptions {
  readonly endpoints?: readonly Endpoint[];
  readonly order?: LocalityOrder;
  readonly budget?: Partial<RetryBudgetOptions>;
  readonly concurrency?: Partial<RetryConcurrencyOptions>;
  readonly random?: Random;
  /** Default true. */
  readonly isSettled?: boolean;
}

/** A service on virtual time: the real balancer, budget and gate over a fixed view. */
export class ServiceRig implements CallService {
  readonly id = "quotes.energy";
  readonly port = 80;
  readonly clock = new ManualClock(5_000);
  readonly events: MeshEvent[] = [];
  readonly observer = undefined;
  readonly balancer: ServiceBalancer;
  readonly budget: RetryBudget;
  readonly gate: RetryGate;
  readonly random: Random;
  readonly waiters = new Set<ViewWaiter>();
  readonly unavailable = new OnehopError("ERR_ONEHOP_NO_ENDPOINTS", "none");
  isSettled: boolean;
  refreshes = 0;

  constructor(options: RigOptions = {}) {
    const { endpoints = [1, 2, 3].map((id) => makeEndpoint(id, { clusterNumber: 1 })), order = ["local", "*"] } =
      options;
    this.random = options.random ?? seededRandom(7);
    this.isSettled = options.isSettled ?? true;
    this.budget = new RetryBudget({ ...DEFAULT_RETRY_BUDGET, ...options.budget }, this.clock.now());
    this.gate = new RetryGate({ ...DEFAULT_RETRY_CONCURRENCY, ...options.concurrency });
    this.balancer = new ServiceBalancer({
      service: this.id,
      order,
      expectIdentity: undefined,
      localCluster: () => ({ number: 1, name: undefined }),
      notify: this.notify,
      onDrain: () => undefined,
    });
    this.adopt(endpoints);
  }

  readonly notify = (event: MeshEvent): void => {
    this.events.push(event);
  };

  adopt(endpoints: readonly Endpoint[]): void {
    this.balancer.adopt(nextSnapshot(this.balancer.snapshot, "test", endpoints));
  }

  unavailableError(): Error {
    return this.unavailable;
  }

  waitForView(waiter: ViewWaiter): void {
    this.waiters.add(waiter);
  }

  stopWaiting(waiter: ViewWaiter): void {
    this.waiters.delete(waiter);
  }

  refresh(): void {
    this.refreshes += 1;
  }

  /** The first view comes. */
  becomeReady(): void {
    this.isSettled = true;
    for (const waiter of [...this.waiters]) {
      this.waiters.delete(waiter);
      waiter.viewReady();
    }
  }

  eventsOf<T extends MeshEventType>(type: T): MeshEventOf<T>[] {
    return this.events.filter((event): event is MeshEventOf<T> => event.type === type);
  }

  /** Attempts that hold an endpoint. */
  get inflight(): number {
    return this.balancer.loads.reduce((sum, load) => sum + load.inflight, 0);
  }

  /** Nothing is left of any call: what every path has to end in. */
  get isAtRest(): boolean {
    return (
      this.inflight === 0 &&
      this.clock.timerCount === 0 &&
      this.gate.active === 0 &&
      this.gate.extra === 0 &&
      this.gate.waiting === 0 &&
      this.waiters.size === 0
    );
  }

  /** Makes a call with a driver that records what it is told. */
  call(request: RequestOptions = {}, policy: Partial<CallPolicy> = {}): { call: Call; driver: RecordingDriver } {
    const driver = new RecordingDriver(request);
    const call = new Call(this, { ...POLICY, ...policy }, driver);
    driver.call = call;
    call.begin();
    return { call, driver };
  }
}

export interface RequestOptions {
  readonly method?: string;
  readonly isIdempotent?: boolean;
  readonly canReplay?: boolean;
  /** What to say of an abandoned attempt: default that it was written. */
  readonly abandonedAs?: AttemptFailure["class"];
  readonly onSend?: (attempt: Attempt, call: Call) => void;
}

export class RecordingDriver implements CallDriver {
  readonly method: string;
  readonly isIdempotent: boolean;
  readonly sent: Attempt[] = [];
  readonly abandoned: { readonly attempt: Attempt; readonly reason: Error }[] = [];
  /** What the caller was told; one at most. */
  readonly errors: unknown[] = [];
  replayable: boolean;
  /** How often a retry was decided. */
  rewinds = 0;
  call: Call | undefined;
  readonly #options: RequestOptions;

  constructor(options: RequestOptions) {
    this.#options = options;
    this.method = options.method ?? "GET";
    this.isIdempotent = options.isIdempotent ?? this.method !== "POST";
    this.replayable = options.canReplay ?? true;
  }

  /** The attempt under way. */
  get last(): Attempt {
    const attempt = this.sent.at(-1);
    if (attempt === undefined) throw new Error("nothing was sent");
    return attempt;
  }

  /** Where attempts went, by backend id. */
  get path(): number[] {
    return this.sent.map(({ load }) => load.endpoint.backendId);
  }

  /** The caller's error, which must be an {@link OnehopError}. */
  get error(): OnehopError {
    const [error] = this.errors;
    if (!(error instanceof OnehopError)) throw new Error(`expected an OnehopError, got ${String(error)}`);
    return error;
  }

  canReplay(): boolean {
    return this.replayable;
  }

  rewind(): void {
    this.rewinds += 1;
  }

  send(attempt: Attempt): void {
    this.sent.push(attempt);
    if (this.call !== undefined) this.#options.onSend?.(attempt, this.call);
  }

  abandon(attempt: Attempt, reason: Error): AttemptFailure["class"] {
    this.abandoned.push({ attempt, reason });
    return this.#options.abandonedAs ?? "maybe-processed";
  }

  fail(error: unknown): void {
    this.errors.push(error);
  }

  /** The attempt under way fails. */
  fails(failure: AttemptFailure = RESET): void {
    this.call?.failed(this.last, failure);
  }

  /** Response headers of the attempt under way; a discarded response is read to its end at once. */
  answers(response: AttemptResponse): "commit" | "discard" {
    const attempt = this.last;
    const verdict = this.call?.responded(attempt, response) ?? "commit";
    if (verdict === "discard") attempt.release();
    return verdict;
  }

  /** The response is complete. */
  completes(): void {
    this.call?.completed(this.last);
  }
}
