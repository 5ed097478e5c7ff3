/** Default time constant: 10 s, that of the latency average beside it. */
export const DEFAULT_SUCCESS_TAU_MS = 10_000;

/** Default weight of one outcome: about the last ten count. */
export const DEFAULT_SUCCESS_PER_SAMPLE_RATIO = 0.1;

/** The lowest value: keeps a cost that is divided by a power of it finite, and failing endpoints comparable. */
export const SUCCESS_RATE_FLOOR = 0.01;

/**
 * A moving average of outcomes, 1 for success and 0 for failure. Each outcome weighs the same, whatever the rate of
 * calls; between outcomes it returns to 1 with the time constant τ, so that an endpoint that failed is tried again.
 * Starts at 1. Outcomes that tell nothing about the endpoint, such as the caller's own abort, are not to be recorded.
 */
export class SuccessRate {
  readonly #tauMs: number;
  readonly #perSample: number;
  /** 1 − rate, as of `#stamp`. */
  #failureRate = 0;
  #stamp = 0;

  /**
   * @param tauMs time constant of the return to 1, in milliseconds, above 0
   * @param perSample weight of one outcome, above 0 and at most 1
   */
  constructor(tauMs: number = DEFAULT_SUCCESS_TAU_MS, perSample: number = DEFAULT_SUCCESS_PER_SAMPLE_RATIO) {
    this.#tauMs = tauMs;
    this.#perSample = perSample;
  }

  /** @param now monotonic milliseconds */
  record(success: boolean, now: number): void {
    const failed = success ? 0 : 1;
    this.#failureRate = this.#failureRateAt(now) * (1 - this.#perSample) + failed * this.#perSample;
    this.#stamp = Math.max(this.#stamp, now);
  }

  /** The rate in {@link SUCCESS_RATE_FLOOR}..1. */
  value(now: number): number {
    return Math.max(SUCCESS_RATE_FLOOR, 1 - this.#failureRateAt(now));
  }

  #failureRateAt(now: number): number {
    return this.#failureRate * Math.exp(-Math.max(0, now - this.#stamp) / this.#tauMs);
  }
}
