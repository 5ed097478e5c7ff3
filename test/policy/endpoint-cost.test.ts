import { describe, expect, it } from "vitest";
import { endpointCost, LOCAL_SEED_MS, REMOTE_SEED_MS, SUCCESS_EXPONENT } from "../../src/policy/endpoint-cost.js";

describe("endpointCost", () => {
  it("is latency × (inflight + 1) / (weight × successRate^8)", () => {
    expect(endpointCost(20, 0, 1, 1)).toBe(20);
    expect(endpointCost(20, 3, 1, 1)).toBe(80);
    expect(endpointCost(20, 3, 4, 1)).toBe(20);
    expect(endpointCost(20, 0, 1, 0.5)).toBe(20 * 2 ** SUCCESS_EXPONENT);
    expect(SUCCESS_EXPONENT).toBe(8);
  });

  it("T-39: makes an endpoint that fails fast dearer than a slow one that works", () => {
    expect(endpointCost(1, 0, 1, 0.5)).toBeGreaterThan(endpointCost(200, 0, 1, 1));
  });

  it("T-40: lets 1 % of failures weigh less than a tenth of latency", () => {
    expect(endpointCost(20, 0, 1, 0.99)).toBeLessThan(endpointCost(22, 0, 1, 1));
  });

  it("stays finite at the floor of the success rate", () => {
    expect(Number.isFinite(endpointCost(1e6, 1e4, 1, 0.01))).toBe(true);
  });

  it("still sees calls in flight where the latency has fallen to nothing", () => {
    expect(endpointCost(0, 2, 1, 1)).toBeGreaterThan(endpointCost(0, 1, 1, 1));
  });

  it("expects more of another cluster before anything is measured", () => {
    expect([LOCAL_SEED_MS, REMOTE_SEED_MS]).toEqual([30, 100]);
  });
});
