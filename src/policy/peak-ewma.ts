/** Default time constant: 10 s, as in Finagle and Linkerd. A peak is down to 37 % of its height after it. */
export const DEFAULT_LATENCY_TAU_MS = 10_000;

/**
 * A moving average of latency that believes bad news at once and good news slowly: a sample above the average replaces
 * it, one below pulls it down with the time constant τ. While nothing is observed it falls towards 0, so that an
 * endpoint that was slow is tried again. The idea is Finagle's `PeakEwma`; tower and Linkerd have it too.
 *
 * Reading changes nothing: the fall while idle is computed from the average as of the last sample. In Finagle every
 * read restarts that fall, so the average depends on how often somebody looks.
 *
 * Only latencies of successes belong in here. Failures have `SuccessRate`; `endpoint-cost.ts` says why.
 */
export class PeakEwma {
  readonly #tauMs: number;
  /** As of `#stamp`. */
  #average = 0;
  #stamp = 0;
  #isComplete = false;

  /** @param tauMs time constant in milliseconds, above 0 */
  constructor(tauMs: number = DEFAULT_LATENCY_TAU_MS) {
    this.#tauMs = tauMs;
  }

  /**
   * Takes the latency of an attempt that came to its end.
   *
   * @param now monotonic milliseconds
   */
  observe(latencyMs: number, now: number): void {
    const kept = this.#keptRatio(now);
    this.#set(latencyMs >= this.#average ? latencyMs : this.#average * kept + latencyMs * (1 - kept), now);
    this.#isComplete = true;
  }

  /**
   * Takes the age of an attempt that was given up: its latency would have been at least this. It can raise the value
   * and never lowers it; a short wait says nothing about how long an answer takes.
   */
  observeAtLeast(elapsedMs: number, now: number): void {
    if (elapsedMs > this.#average * this.#keptRatio(now)) this.#set(elapsedMs, now);
  }

  /** The average in milliseconds, fallen since the last sample; undefined before the first complete one. */
  value(now: number): number | undefined {
    return this.#isComplete ? this.#average * this.#keptRatio(now) : undefined;
  }

  /**
   * The latency to expect of the next call, for `endpointCost`.
   *
   * An endpoint with calls in flight is not idle, so its average is taken unfallen. Otherwise one that was left alone
   * for a minute would look so cheap that every call goes to it until the first answer is back.
   *
   * @param inflight attempts in flight on the endpoint
   * @param seedMs what to expect before the first complete sample, best the median of the endpoints it competes with;
   * attempts given up after a longer wait raise it
   */
  estimate(now: number, inflight: number, seedMs: number): number {
    if (!this.#isComplete) return Math.max(seedMs, this.#average * this.#keptRatio(now));
    return inflight > 0 ? this.#average : this.#average * this.#keptRatio(now);
  }

  #set(average: number, now: number): void {
    this.#average = average;
    this.#stamp = Math.max(this.#stamp, now);
  }

  /** Share of the average that is left after the time since the last sample; 1 when the clock went back. */
  #keptRatio(now: number): number {
    return Math.exp(-Math.max(0, now - this.#stamp) / this.#tauMs);
  }
}
