import { describe, expect, it } from "vitest";
import { EndpointLoad } from "../../src/balance/endpoint-load.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const SEED_MS = 30;

describe("EndpointLoad", () => {
  it("counts what is under way and what was picked", () => {
    const load = new EndpointLoad(makeEndpoint(1));
    load.begin();
    load.begin();
    load.end();
    expect([load.inflight, load.picks]).toEqual([1, 2]);
  });

  it("has no latency before the first success, and costs what its group suggests", () => {
    const load = new EndpointLoad(makeEndpoint(1));
    expect([load.latencyMs(0), load.successRate(0), load.cost(SEED_MS, 0)]).toEqual([undefined, 1, SEED_MS]);
    load.answered(false, 2, 0);
    load.failed(0);
    expect(load.latencyMs(0), "failures have no latency").toBeUndefined();
    load.answered(true, 12, 0);
    expect(load.latencyMs(0)).toBe(12);
  });

  it("costs more with each call under way", () => {
    const load = new EndpointLoad(makeEndpoint(1));
    load.answered(true, 10, 0);
    const costs = [0, 1, 2].map(() => {
      const cost = load.cost(SEED_MS, 0);
      load.begin();
      return cost;
    });
    expect(costs).toEqual([10, 20, 30]);
  });

  it("costs more after a failure, however fast it was, and recovers with time", () => {
    const load = new EndpointLoad(makeEndpoint(1));
    load.answered(true, 10, 0);
    load.answered(false, 1, 0);
    expect(load.cost(SEED_MS, 0)).toBeGreaterThan(20);
    expect(load.successRate(0)).toBeCloseTo(0.9);
    expect(load.successRate(60_000)).toBeGreaterThan(0.999);
  });

  it("takes the wait for an answer that never came as the least it would have been", () => {
    const load = new EndpointLoad(makeEndpoint(1));
    load.answered(true, 10, 0);
    load.censored(5, 0);
    expect(load.latencyMs(0)).toBe(10);
    load.censored(500, 0);
    expect(load.latencyMs(0)).toBe(500);
  });
});
