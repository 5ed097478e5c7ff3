import { describe, expect, it } from "vitest";
import { SUCCESS_RATE_FLOOR, SuccessRate } from "../../src/policy/success-rate.js";

const TAU = 10_000;

describe("SuccessRate", () => {
  it("starts at 1 and stays there while calls succeed", () => {
    const rate = new SuccessRate(TAU);
    expect(rate.value(0)).toBe(1);
    for (let now = 0; now < 100; now++) rate.record(true, now);
    expect(rate.value(100)).toBe(1);
  });

  it("gives each outcome a tenth", () => {
    const rate = new SuccessRate(TAU);
    rate.record(false, 0);
    expect(rate.value(0)).toBeCloseTo(0.9, 12);
    rate.record(false, 0);
    expect(rate.value(0)).toBeCloseTo(0.81, 12);
    rate.record(true, 0);
    expect(rate.value(0)).toBeCloseTo(0.829, 12);
  });

  it("takes another weight", () => {
    const rate = new SuccessRate(TAU, 0.5);
    rate.record(false, 0);
    expect(rate.value(0)).toBe(0.5);
  });

  it("returns to 1 with the time constant", () => {
    const rate = new SuccessRate(TAU);
    rate.record(false, 0);
    expect(rate.value(TAU)).toBeCloseTo(1 - 0.1 / Math.E, 12);
    rate.record(false, TAU);
    expect(rate.value(TAU)).toBeCloseTo(1 - 0.09 / Math.E - 0.1, 12);
    expect(rate.value(TAU * 50)).toBeCloseTo(1, 12);
  });

  it("never goes below its floor", () => {
    const rate = new SuccessRate(TAU);
    for (let count = 0; count < 1_000; count++) rate.record(false, 0);
    expect(rate.value(0)).toBe(SUCCESS_RATE_FLOOR);
    expect(SUCCESS_RATE_FLOOR).toBe(0.01);
  });

  it("T-32: takes a clock that goes back for one that stands still", () => {
    const rate = new SuccessRate(TAU);
    rate.record(false, 3_600_000);
    expect(rate.value(0)).toBeCloseTo(0.9, 12);
    rate.record(true, 0);
    expect(rate.value(3_600_000)).toBeCloseTo(0.91, 12);
  });
});
