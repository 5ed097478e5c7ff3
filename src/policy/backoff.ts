import type { Random } from "../random.js";

/** The range of the pause before a retry. */
export interface BackoffOptions {
  /** Upper end of the first pause, in milliseconds. */
  readonly baseMs: number;
  /** Upper end of every later pause at most, in milliseconds. */
  readonly capMs: number;
}

/** After failures that pass quickly. Envoy's numbers, which fit round trips within a data centre. */
export const DEFAULT_BACKOFF: BackoffOptions = Object.freeze({ baseMs: 25, capMs: 250 });

/** After a server said that it is overloaded. The numbers of the AWS SDKs (2026) for throttling. */
export const THROTTLED_BACKOFF: BackoffOptions = Object.freeze({ baseMs: 1_000, capMs: 20_000 });

/** 2^30 times any base is above any cap; without a bound 2^retry becomes Infinity, and 0 × Infinity is not a number. */
const MAX_DOUBLINGS = 30;

/**
 * The pause before a retry: anywhere in [0, min(cap, base × (2^retry − 1))), the ranges of Envoy's router filter
 * documentation. Full jitter, starting at 0, spreads the clients that failed together over the whole range; a fixed
 * pause would bring them all back at once (trap T-11).
 *
 * @param retry ordinal of the retry, from 1
 * @returns milliseconds, not rounded
 */
export function fullJitter(options: BackoffOptions, retry: number, random: Random): number {
  const doublings = Math.min(Math.max(retry, 1), MAX_DOUBLINGS);
  return random() * Math.min(options.capMs, options.baseMs * (2 ** doublings - 1));
}
