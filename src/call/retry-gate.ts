import { type RetryConcurrencyOptions, retryConcurrencyLimit } from "../policy/retry-concurrency.js";

/** Somebody who waits for a place. */
export interface RetryWaiter {
  /** The place is taken for this waiter: it sends its extra attempt now. */
  admitted(): void;
}

/**
 * The concurrency gate of the retry budget: bounds the extra attempts in flight at once to a share of the calls under
 * way (Envoy's retry budget). It queues, in order, instead of refusing: when a pod dies, refusing would fail most of the
 * calls in flight at that instant, queueing lets them through a few at a time within their deadlines.
 */
export class RetryGate {
  readonly #options: RetryConcurrencyOptions;
  readonly #waiting: Set<RetryWaiter> = new Set();
  #extra = 0;
  #active = 0;
  #isAdmitting = false;

  constructor(options: RetryConcurrencyOptions) {
    this.#options = options;
  }

  /** Calls under way, queued ones included. */
  get active(): number {
    return this.#active;
  }

  /** Extra attempts in flight. */
  get extra(): number {
    return this.#extra;
  }

  /** Calls waiting for a place. */
  get waiting(): number {
    return this.#waiting.size;
  }

  callStarted(): void {
    this.#active += 1;
  }

  callEnded(): void {
    this.#active -= 1;
  }

  /** Queues the waiter behind those who came before; it is told by `admitted` when its turn is, maybe at once. */
  enter(waiter: RetryWaiter): void {
    this.#waiting.add(waiter);
    this.#admit();
  }

  /** Leaves the queue: the call has ended meanwhile. */
  forget(waiter: RetryWaiter): void {
    this.#waiting.delete(waiter);
  }

  /** Gives a place back, after the extra attempt has an outcome. */
  leave(): void {
    this.#extra -= 1;
    this.#admit();
  }

  /** A waiter that gives its place back while it is told does not start a round of its own: rounds would nest deeply. */
  #admit(): void {
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    try {
      for (const waiter of this.#waiting) {
        if (this.#extra >= retryConcurrencyLimit(this.#options, this.#active)) return;
        this.#waiting.delete(waiter);
        this.#extra += 1;
        waiter.admitted();
      }
    } finally {
      this.#isAdmitting = false;
    }
  }
}
