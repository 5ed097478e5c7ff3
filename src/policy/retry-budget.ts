/**
 * How many extra sends (retries, hedges, re-sends elsewhere) the calls of one service may cause.
 *
 * Every first attempt deposits a share of a token and every extra send takes a whole one, so the load that onehop adds
 * is a share of the load there is: an outage cannot turn into a storm. Deposits and withdrawals are both forgotten
 * after `ttlMs`, so an idle client cannot save up a burst, and a small reserve keeps retries alive where calls are too
 * rare to earn one. The rules are those of Finagle's `RetryBudget` (leaky token bucket, whole tokens counted in
 * thousandths so that no call is lost to rounding); Linkerd uses the same.
 */

/** How much a {@link RetryBudget} grants. */
export interface RetryBudgetOptions {
  /**
   * Extra sends earned by one call, to the nearest thousandth. Default 0.2, as in Finagle and Linkerd: load grows by a
   * fifth at most.
   */
  readonly ratio: number;
  /**
   * Extra sends per second that need no calls to earn them. Default 1. Finagle and Linkerd grant 10, with which 200
   * client pods send 2,000 free retries a second to a dead service.
   */
  readonly minPerSecond: number;
  /** How long deposits and withdrawals count, in milliseconds, above 0. Default 10,000, as in Finagle and Linkerd. */
  readonly ttlMs: number;
}

/** The budget of a service that configures none. */
export const DEFAULT_RETRY_BUDGET: RetryBudgetOptions = Object.freeze({ ratio: 0.2, minPerSecond: 1, ttlMs: 10_000 });

/** Thousandths in a token. */
const TOKEN = 1_000;

/** The window moves in tenths of the ttl: an entry is forgotten between 0.9 and 1.0 ttl after it was made. */
const BUCKETS = 10;

/**
 * The budget of one service. Constant memory and time. In its first `t` milliseconds at most
 * `ratio × deposits + minPerSecond × ttl × ceil(t / ttl)` withdrawals succeed.
 */
export class RetryBudget {
  readonly #deposit: number;
  readonly #reserve: number;
  readonly #bucketMs: number;
  readonly #origin: number;
  /** Deposits less withdrawals of each tenth of the window, in thousandths of a token. */
  readonly #buckets = new Float64Array(BUCKETS);
  #sum = 0;
  /** Ordinal of the newest bucket since the origin. */
  #newest = 0;

  /** @param now monotonic milliseconds */
  constructor(options: RetryBudgetOptions, now: number) {
    this.#deposit = Math.round(options.ratio * TOKEN);
    this.#reserve = Math.round((options.minPerSecond * options.ttlMs * TOKEN) / 1_000);
    this.#bucketMs = options.ttlMs / BUCKETS;
    this.#origin = now;
  }

  /**
   * Counts a call. To be called when its first attempt starts: counting at its end would starve the budget just when
   * calls become slow.
   */
  deposit(now: number): void {
    this.#advance(now);
    this.#add(this.#deposit);
  }

  /**
   * Takes the token of one extra send.
   *
   * @returns false when there is none; nothing is taken then
   */
  tryWithdraw(now: number): boolean {
    this.#advance(now);
    if (this.#sum + this.#reserve < TOKEN) return false;
    this.#add(-TOKEN);
    return true;
  }

  /** How many extra sends could be made now: a whole number, 0 or more. */
  balance(now: number): number {
    this.#advance(now);
    return Math.max(0, Math.floor((this.#sum + this.#reserve) / TOKEN));
  }

  #add(thousandths: number): void {
    const slot = this.#newest % BUCKETS;
    this.#buckets[slot] = (this.#buckets[slot] ?? 0) + thousandths;
    this.#sum += thousandths;
  }

  /** Forgets the buckets that left the window. A clock that goes back changes nothing: time stands still. */
  #advance(now: number): void {
    const current = Math.floor((now - this.#origin) / this.#bucketMs);
    if (!(current > this.#newest)) return;
    const expired = Math.min(current - this.#newest, BUCKETS);
    for (let step = 1; step <= expired; step++) {
      const slot = (this.#newest + step) % BUCKETS;
      this.#sum -= this.#buckets[slot] ?? 0;
      this.#buckets[slot] = 0;
    }
    this.#newest = current;
  }
}
