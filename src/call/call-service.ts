import type { ServiceBalancer } from "../balance/service-balancer.js";
import type { Clock } from "../clock.js";
import type { Notify } from "../model/event.js";
import type { BackoffOptions } from "../policy/backoff.js";
import type { RetryBudget } from "../policy/retry-budget.js";
import type { Random } from "../random.js";
import type { AttemptObserver } from "./observer.js";
import type { RetryGate } from "./retry-gate.js";

/** The rules of one call, all values settled. */
export interface CallPolicy {
  /** The whole call until response headers, in milliseconds. */
  readonly timeoutMs: number;
  /** One attempt until response headers; undefined: a share of the whole. */
  readonly perTryTimeoutMs: number | undefined;
  /** The first attempt included. */
  readonly maxAttempts: number;
  readonly backoff: BackoffOptions;
  readonly throttledBackoff: BackoffOptions;
  /** Whether an attempt may go to another cluster when the own one fails. */
  readonly spread: "same-then-other" | "never-cross";
}

/** Tells waiting calls that the service is settled. */
export interface ViewWaiter {
  viewReady(): void;
}

/** What a call needs of its service. */
export interface CallService {
  readonly id: string;
  readonly port: number;
  readonly balancer: ServiceBalancer;
  readonly budget: RetryBudget;
  readonly gate: RetryGate;
  readonly clock: Clock;
  readonly random: Random;
  readonly notify: Notify;
  readonly observer: AttemptObserver | undefined;
  /** Whether it is known what can be called, if anything; until then calls wait within their deadline. */
  readonly isSettled: boolean;
  /** Why nothing can be called, when the picker is empty. */
  unavailableError(): Error;
  waitForView(waiter: ViewWaiter): void;
  stopWaiting(waiter: ViewWaiter): void;
  /** Asks discovery for a read at once: a connection failed. */
  refresh(): void;
}
