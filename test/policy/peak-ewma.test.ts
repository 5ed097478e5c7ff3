import { describe, expect, it } from "vitest";
import { endpointCost } from "../../src/policy/endpoint-cost.js";
import { DEFAULT_LATENCY_TAU_MS, PeakEwma } from "../../src/policy/peak-ewma.js";
import { twoChoices } from "../../src/policy/two-choices.js";
import { seededRandom } from "../../src/random.js";

const TAU = 10_000;

describe("PeakEwma", () => {
  it("has a time constant of 10 s unless told otherwise", () => {
    const average = new PeakEwma();
    average.observe(100, 0);
    expect(average.value(DEFAULT_LATENCY_TAU_MS)).toBeCloseTo(100 / Math.E, 9);
    expect(DEFAULT_LATENCY_TAU_MS).toBe(10_000);
  });

  it("has no value before the first sample, and that sample's after it", () => {
    const average = new PeakEwma(TAU);
    expect(average.value(5)).toBeUndefined();
    average.observe(0, 5);
    expect(average.value(5)).toBe(0);
    average.observe(40, 6);
    expect(average.value(6)).toBe(40);
  });

  it("believes a peak at once", () => {
    const average = new PeakEwma(TAU);
    average.observe(20, 0);
    average.observe(500, 1);
    expect(average.value(1)).toBe(500);
  });

  it("follows lower samples with the time constant", () => {
    const average = new PeakEwma(TAU);
    average.observe(100, 0);
    average.observe(20, TAU);
    expect(average.value(TAU)).toBeCloseTo(20 + 80 / Math.E, 9);
    for (let now = TAU; now <= 4 * TAU; now += 10) average.observe(20, now);
    expect(average.value(4 * TAU)).toBeCloseTo(20 + 80 / Math.E ** 4, 9);
  });

  it("falls towards 0 while idle, and reading does not hasten it", () => {
    const average = new PeakEwma(TAU);
    average.observe(100, 0);
    let previous = 100;
    for (let now = 500; now <= 50_000; now += 500) {
      const value = average.value(now) ?? Number.NaN;
      expect(value).toBeLessThan(previous);
      previous = value;
    }
    expect(previous).toBeCloseTo(100 * Math.exp(-5), 9);
  });

  it("T-32: takes a clock that goes back for one that stands still", () => {
    const average = new PeakEwma(TAU);
    average.observe(100, 3_600_000);
    expect(average.value(0)).toBe(100);
    average.observe(50, 0);
    expect(average.value(3_600_000)).toBe(100);
  });

  it("is raised, never lowered, by an attempt that was given up", () => {
    const average = new PeakEwma(TAU);
    average.observe(100, 0);
    average.observeAtLeast(10, 0);
    expect(average.value(0)).toBe(100);
    average.observeAtLeast(10, TAU);
    expect(average.value(TAU)).toBeCloseTo(100 / Math.E, 9);
    average.observeAtLeast(60, TAU);
    expect(average.value(TAU)).toBe(60);
  });

  it("is not made quick by an early abort of the first attempt, yet made slow by a long one", () => {
    const average = new PeakEwma(TAU);
    average.observeAtLeast(1, 0);
    expect(average.value(0)).toBeUndefined();
    expect(average.estimate(0, 0, 30)).toBe(30);
    average.observeAtLeast(900, 0);
    expect(average.value(0)).toBeUndefined();
    expect(average.estimate(0, 0, 30)).toBe(900);
    expect(average.estimate(TAU * 10, 0, 30)).toBe(30);
  });

  it("expects the fallen average of an idle endpoint, and the whole one of a busy one", () => {
    const average = new PeakEwma(TAU);
    average.observe(100, 0);
    expect(average.estimate(TAU, 0, 30)).toBeCloseTo(100 / Math.E, 9);
    expect(average.estimate(TAU, 1, 30)).toBe(100);
  });

  it("T-47: sends no burst to an endpoint that was left alone for a minute", () => {
    const endpoints = [0, 60_000, 60_000].map((lastSampleAt) => {
      const latency = new PeakEwma(TAU);
      latency.observe(20, lastSampleAt);
      return { latency, inflight: 0 };
    });
    const random = seededRandom(47);
    for (let call = 0; call < 300; call++) {
      const cost = ({ latency, inflight }: (typeof endpoints)[number]): number =>
        endpointCost(latency.estimate(60_000, inflight, 30), inflight, 1, 1);
      const picked = twoChoices(endpoints, cost, random);
      if (picked !== undefined) picked.inflight++;
    }
    for (const { inflight } of endpoints) expect(Math.abs(inflight - 100)).toBeLessThanOrEqual(5);
  });
});
