import { describe, expect, it } from "vitest";
import { type BackoffOptions, DEFAULT_BACKOFF, fullJitter, THROTTLED_BACKOFF } from "../../src/policy/backoff.js";
import { seededRandom } from "../../src/random.js";

const ALMOST_ONE = 1 - 2 ** -53;

describe("fullJitter", () => {
  it.each([
    [1, 25],
    [2, 75],
    [3, 175],
    [4, 250],
    [5, 250],
    [5_000, 250],
  ])("draws retry %i from [0, %i) as Envoy does", (retry, end) => {
    expect(fullJitter(DEFAULT_BACKOFF, retry, () => 0)).toBe(0);
    expect(fullJitter(DEFAULT_BACKOFF, retry, () => 0.5)).toBe(end / 2);
    const longest = fullJitter(DEFAULT_BACKOFF, retry, () => ALMOST_ONE);
    expect(longest).toBeLessThan(end);
    expect(longest).toBeGreaterThan(end - 1e-9);
  });

  it.each([
    [1, 1_000],
    [2, 3_000],
    [4, 15_000],
    [5, 20_000],
  ])("draws retry %i after throttling from [0, %i)", (retry, end) => {
    expect(fullJitter(THROTTLED_BACKOFF, retry, () => 0.5)).toBe(end / 2);
  });

  it("stays a number without a base", () => {
    expect(fullJitter({ baseMs: 0, capMs: 250 }, 5_000, () => 0.5)).toBe(0);
  });

  it("T-11: spreads 1,000 clients that failed together over the whole range", () => {
    const random = seededRandom(11);
    for (const [retry, end] of [
      [1, 25],
      [2, 75],
      [3, 175],
      [4, 250],
    ] as const) {
      expect(busiestTenth(DEFAULT_BACKOFF, retry, random)).toBeLessThan((3 * 1_000) / (end / 10));
    }
    const withoutJitter = busiestTenth(DEFAULT_BACKOFF, 4, () => 0.5);
    expect(withoutJitter).toBeGreaterThan((3 * 1_000) / 25);
  });
});

/** The most of 1,000 clients that come back within the same 10 ms. */
function busiestTenth(options: BackoffOptions, retry: number, random: () => number): number {
  const arrivals = new Map<number, number>();
  for (let client = 0; client < 1_000; client++) {
    const bucket = Math.floor(fullJitter(options, retry, random) / 10);
    arrivals.set(bucket, (arrivals.get(bucket) ?? 0) + 1);
  }
  return Math.max(...arrivals.values());
}
