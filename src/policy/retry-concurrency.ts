/** How many extra sends of a service may be in flight together. */
export interface RetryConcurrencyOptions {
  /** Share of the calls in flight, 0..1. Default 0.2, as the retry budgets of Envoy and failsafe-go. */
  readonly ratio: number;
  /** Always allowed, however few calls are in flight. Default 3, as Envoy's `min_retry_concurrency`. */
  readonly minimum: number;
}

/** The limit of a service that configures none. */
export const DEFAULT_RETRY_CONCURRENCY: RetryConcurrencyOptions = Object.freeze({ ratio: 0.2, minimum: 3 });

/** Far above the rounding error of `ratio × active`, far below one send. */
const ROUNDING = 1e-9;

/**
 * The most extra sends that may be in flight now. It bounds the waves of a brown-out, which a budget per time does not
 * see. A send above the limit is to wait its turn within its deadline, not to fail: refusing would fail most of the
 * calls in flight at the instant a pod dies.
 *
 * @param active calls of the service in flight or waiting
 * @returns a whole number
 */
export function retryConcurrencyLimit(options: RetryConcurrencyOptions, active: number): number {
  return Math.max(options.minimum, Math.floor(options.ratio * active + ROUNDING));
}
