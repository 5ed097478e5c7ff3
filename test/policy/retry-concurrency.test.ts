import { describe, expect, it } from "vitest";
import { DEFAULT_RETRY_CONCURRENCY, retryConcurrencyLimit } from "../../src/policy/retry-concurrency.js";

describe("retryConcurrencyLimit", () => {
  it.each([
    [0, 3],
    [1, 3],
    [19, 3],
    [20, 4],
    [24, 4],
    [25, 5],
    [1_000, 200],
  ])("with %i calls in flight allows %i extra sends", (active, limit) => {
    expect(retryConcurrencyLimit(DEFAULT_RETRY_CONCURRENCY, active)).toBe(limit);
  });

  it("does not lose a send to rounding", () => {
    expect(0.29 * 100).toBeLessThan(29);
    expect(retryConcurrencyLimit({ ratio: 0.29, minimum: 0 }, 100)).toBe(29);
  });
});
