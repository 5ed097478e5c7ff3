/**
 * Three endpoints, ten callers that call again as soon as they are answered, two minutes of virtual time, two random
 * choices. What share of the calls goes to the first endpoint, the bad one?
 */
import { describe, expect, it } from "vitest";
import { endpointCost, LOCAL_SEED_MS } from "../../src/policy/endpoint-cost.js";
import { PeakEwma } from "../../src/policy/peak-ewma.js";
import { SuccessRate } from "../../src/policy/success-rate.js";
import { twoChoices } from "../../src/policy/two-choices.js";
import { type Random, seededRandom } from "../../src/random.js";

const CALLERS = 10;
const DURATION_MS = 120_000;
const USUAL_MS = 20;
const SEEDS = [1, 2, 3];

/** How an endpoint behaves: how often it fails, how soon then, and how long it takes otherwise. */
interface Behaviour {
  readonly failureRatio: number;
  readonly failureMs: number;
  readonly latencyMs: number;
}

/** What the balancer knows of an endpoint. */
interface Tracked extends Behaviour {
  readonly latency: PeakEwma;
  readonly success: SuccessRate;
  inflight: number;
}

/** How an outcome is taken in: the thing under test, and what others do. */
type Learn = (endpoint: Tracked, isSuccess: boolean, durationMs: number, now: number) => void;

/** Latency of successes, and the rate of successes. */
const apart: Learn = (endpoint, isSuccess, durationMs, now) => {
  if (isSuccess) endpoint.latency.observe(durationMs, now);
  endpoint.success.record(isSuccess, now);
};

/** A failure is an answer like any other. */
const plain: Learn = (endpoint, _isSuccess, durationMs, now) => endpoint.latency.observe(durationMs, now);

/** A failure is an answer that took 5 s, as in Linkerd. */
const penalty: Learn = (endpoint, isSuccess, durationMs, now) =>
  endpoint.latency.observe(isSuccess ? durationMs : 5_000, now);

const good: Behaviour = { failureRatio: 0, failureMs: 1, latencyMs: USUAL_MS };
const failsAlways = [{ ...good, failureRatio: 1 }, good, good];
const failsOften = [{ ...good, failureRatio: 0.3 }, good, good];
const flawed: Behaviour = { ...good, failureRatio: 0.01 };
const slowAmongFlawed = [{ ...flawed, latencyMs: 5 * USUAL_MS }, flawed, flawed];

/** Percent of the calls that went to the first endpoint. */
function shareOfFirst(behaviours: readonly Behaviour[], learn: Learn, random: Random): number {
  const endpoints = behaviours.map(
    (behaviour): Tracked => ({ ...behaviour, latency: new PeakEwma(), success: new SuccessRate(), inflight: 0 }),
  );
  let total = 0;
  let first = 0;
  /** When each caller's running call ends, and what happens then. */
  const callers = Array.from({ length: CALLERS }, () => ({ at: 0, end: (_now: number): void => {} }));
  for (;;) {
    const caller = callers.reduce((soonest, other) => (other.at < soonest.at ? other : soonest));
    const now = caller.at;
    if (now >= DURATION_MS) return (100 * first) / total;
    caller.end(now);
    const cost = ({ latency, inflight, success }: Tracked): number =>
      endpointCost(latency.estimate(now, inflight, LOCAL_SEED_MS), inflight, 1, success.value(now));
    const picked = twoChoices(endpoints, cost, random) as Tracked;
    total++;
    if (picked === endpoints[0]) first++;
    picked.inflight++;
    const isSuccess = random() >= picked.failureRatio;
    const durationMs = isSuccess ? picked.latencyMs * (0.5 + random()) : picked.failureMs;
    caller.at = now + durationMs;
    caller.end = (then) => {
      picked.inflight--;
      learn(picked, isSuccess, durationMs, then);
    };
  }
}

describe.each(SEEDS)("the share of a bad endpoint, seed %i", (seed) => {
  const share = (behaviours: readonly Behaviour[], learn: Learn): number =>
    shareOfFirst(behaviours, learn, seededRandom(seed));
  const near = (expected: number, actual: number): void => {
    expect(Math.abs(actual - expected), `${actual.toFixed(2)} % instead of ${expected} %`).toBeLessThanOrEqual(2);
  };

  it("T-39: is next to nothing when it fails always, in 1 ms", () => near(0.4, share(failsAlways, apart)));

  it("T-39: is next to nothing when it fails often, in 1 ms", () => near(0.5, share(failsOften, apart)));

  it("T-40: is small when it is slow while all fail now and then", () => near(2.2, share(slowAmongFlawed, apart)));

  it("T-39: is over half of all where latency alone counts, which this simulation must show", () => {
    expect(share(failsAlways, plain)).toBeGreaterThanOrEqual(50);
    expect(share(failsOften, plain)).toBeGreaterThanOrEqual(30);
  });

  it("T-40: is several times as large where failures count as latency, which this simulation must show", () => {
    expect(share(slowAmongFlawed, penalty)).toBeGreaterThanOrEqual(8);
  });
});
