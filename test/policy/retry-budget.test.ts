import { describe, expect, it } from "vitest";
import { DEFAULT_RETRY_BUDGET, RetryBudget } from "../../src/policy/retry-budget.js";

const NO_RESERVE = { ratio: 0.2, minPerSecond: 0, ttlMs: 10_000 };
const RESERVE_ONLY = { ratio: 0, minPerSecond: 1, ttlMs: 10_000 };

/** Withdraws until refused. */
function drain(budget: RetryBudget, now: number): number {
  let taken = 0;
  while (taken < 100_000 && budget.tryWithdraw(now)) taken++;
  return taken;
}

describe("RetryBudget", () => {
  it("has the documented defaults", () => {
    expect(DEFAULT_RETRY_BUDGET).toEqual({ ratio: 0.2, minPerSecond: 1, ttlMs: 10_000 });
  });

  it("T-02: grants exactly 20 extra sends for 100 failing calls with 5 attempts each", () => {
    const budget = new RetryBudget(NO_RESERVE, 0);
    let sends = 0;
    for (let call = 0; call < 100; call++) {
      budget.deposit(call);
      sends++;
      for (let attempt = 2; attempt <= 5 && budget.tryWithdraw(call); attempt++) sends++;
    }
    expect(sends).toBe(120);
  });

  it.each([
    [0.1, 10],
    [0.29, 29],
    [0.57, 57],
    [1, 100],
    [2.5, 250],
  ])("counts in whole thousandths: ratio %d of 100 calls gives %i extra sends", (ratio, expected) => {
    const budget = new RetryBudget({ ...NO_RESERVE, ratio }, 0);
    for (let call = 0; call < 100; call++) budget.deposit(0);
    expect(budget.balance(0)).toBe(expected);
    expect(drain(budget, 0)).toBe(expected);
  });

  it("T-02: keeps sends within 1.2 × calls + 1 a second while everything fails for 60 s", () => {
    const budget = new RetryBudget(DEFAULT_RETRY_BUDGET, 0);
    let sends = 0;
    for (let call = 0; call < 60_000; call++) {
      budget.deposit(call);
      sends++;
      for (let attempt = 2; attempt <= 5 && budget.tryWithdraw(call); attempt++) sends++;
    }
    expect(sends).toBeLessThanOrEqual(1.2 * 60_000 + 60);
    expect(sends).toBeGreaterThan(1.19 * 60_000);
  });

  it("gives an idle client 10 extra sends, refuses the 11th, and gives 10 again after the ttl", () => {
    for (const at of [0, 1, 999, 1_000, 4_321]) {
      const budget = new RetryBudget(DEFAULT_RETRY_BUDGET, 0);
      expect(budget.balance(at)).toBe(10);
      expect(drain(budget, at)).toBe(10);
      expect(budget.tryWithdraw(at)).toBe(false);
      expect(budget.tryWithdraw(at + 8_999)).toBe(false);
      expect(budget.balance(at + 10_000)).toBe(10);
      expect(drain(budget, at + 10_000)).toBe(10);
    }
  });

  it("T-13: counts deposits when calls start: 100 slow calls in flight make 20 retries available", () => {
    const budget = new RetryBudget(NO_RESERVE, 0);
    for (let call = 0; call < 100; call++) budget.deposit(call);
    expect(budget.balance(100)).toBe(20);
  });

  it("forgets deposits after the ttl, so that an idle client saves up no burst", () => {
    const budget = new RetryBudget(NO_RESERVE, 0);
    for (let call = 0; call < 1_000; call++) budget.deposit(0);
    expect(budget.balance(8_999)).toBe(200);
    expect(budget.balance(10_000)).toBe(0);
    expect(budget.tryWithdraw(10_000)).toBe(false);
  });

  it("forgets everything after a long sleep, and works on", () => {
    const budget = new RetryBudget(DEFAULT_RETRY_BUDGET, 5);
    drain(budget, 5);
    const later = 5 + 365 * 86_400_000;
    expect(budget.balance(later)).toBe(10);
    for (let call = 0; call < 50; call++) budget.deposit(later);
    expect(drain(budget, later + 1)).toBe(20);
  });

  it("T-32: is unchanged when the clock goes back an hour", () => {
    const budget = new RetryBudget(RESERVE_ONLY, 3_600_000);
    for (let taken = 0; taken < 4; taken++) budget.tryWithdraw(3_600_000);
    expect(budget.balance(0)).toBe(6);
    expect(drain(budget, 0)).toBe(6);
    expect(budget.balance(3_600_000)).toBe(0);
  });

  it("never tells a negative balance, although deposits may be forgotten before the withdrawals they paid for", () => {
    const budget = new RetryBudget({ ratio: 1, minPerSecond: 0, ttlMs: 1_000 }, 0);
    budget.deposit(0);
    expect(budget.tryWithdraw(900)).toBe(true);
    expect(budget.balance(1_050)).toBe(0);
    budget.deposit(1_050);
    expect(budget.tryWithdraw(1_050)).toBe(false);
  });
});
