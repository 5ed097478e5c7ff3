/**
 * What it costs to send the next call to an endpoint: the wait to expect, made dearer by failures.
 *
 * An endpoint that fails fast looks quick. With latency alone, two random choices over three endpoints send it two
 * thirds of all calls: every call that draws it at all (trap T-39). Linkerd's answer (`load-biaser`) records a failure
 * as 5 s of latency. That drives the failing endpoint out, but as soon as all endpoints fail now and then, these 5 s
 * drown the differences in latency that the choice is for, and a single failure keeps an endpoint away for most of a
 * minute (trap T-40). So the signals stay apart: latency of successes only, and the rate of successes, raised to a
 * power that makes 1 % of failures cost 8 % of latency and 30 % of failures a factor of 17.
 */

/** Power of the success rate. With 4 a failing endpoint keeps a few percent of the calls, with 8 half a percent. */
export const SUCCESS_EXPONENT = 8;

/**
 * Latency to expect of an endpoint of the own cluster, in milliseconds, while nothing that it competes with has been
 * measured. Afterwards the median of these others is the guess to use: a new pod that counts for 30 ms beside others at
 * 2 ms would hardly ever get its first call, and a seed, unlike an average, does not fall with time.
 */
export const LOCAL_SEED_MS = 30;

/** The same for another cluster: further away until measured. */
export const REMOTE_SEED_MS = 100;

/** Latencies below are alike: an average that has fallen to nothing must not hide the calls in flight. */
const LEAST_LATENCY_MS = 0.01;

/**
 * Cost of the next call, `latency × (inflight + 1) / (weight × successRate^8)`. Only its order matters.
 *
 * @param latencyMs latency to expect
 * @param inflight attempts in flight
 * @param weight share of the calls relative to other endpoints, above 0; usually 1
 * @param successRate in 0.01..1
 */
export function endpointCost(latencyMs: number, inflight: number, weight: number, successRate: number): number {
  return (Math.max(latencyMs, LEAST_LATENCY_MS) * (inflight + 1)) / (weight * successRate ** SUCCESS_EXPONENT);
}
