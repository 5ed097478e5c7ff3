import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attemptTimeoutMs } from "../../src/policy/attempt-timeout.js";
import { fullJitter } from "../../src/policy/backoff.js";
import { hintedDelay, MAX_RETRY_AFTER_MS, parseRetryAfter } from "../../src/policy/retry-after.js";
import { RetryBudget } from "../../src/policy/retry-budget.js";
import { retryConcurrencyLimit } from "../../src/policy/retry-concurrency.js";

const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("RetryBudget", () => {
  const options = fc.record({
    ratio: fc.integer({ min: 0, max: 2_000 }).map((thousandths) => thousandths / 1_000),
    minPerSecond: fc.integer({ min: 0, max: 20 }),
    ttlMs: fc.constantFrom(100, 1_000, 3_333, 10_000),
  });
  const steps = fc.array(
    fc.record({
      pauseMs: fc.oneof(fc.nat(50), fc.nat(2_000), fc.nat(30_000)),
      calls: fc.nat(20),
      tries: fc.nat(40),
    }),
    { maxLength: 60 },
  );

  it("lets through at most ratio × calls and one reserve per ttl, in every stretch of every sequence", () => {
    fc.assert(
      fc.property(options, fc.nat(1_000_000), steps, (settings, origin, sequence) => {
        const budget = new RetryBudget(settings, origin);
        const reserve = (settings.minPerSecond * settings.ttlMs) / 1_000;
        const log: { at: number; calls: number; sent: number }[] = [];
        let now = origin;
        for (const { pauseMs, calls, tries } of sequence) {
          now += pauseMs;
          for (let call = 0; call < calls; call++) budget.deposit(now);
          const before = budget.balance(now);
          let sent = 0;
          for (let attempt = 0; attempt < tries; attempt++) if (budget.tryWithdraw(now)) sent++;
          expect(sent).toBe(Math.min(tries, before));
          expect(budget.balance(now)).toBe(before - sent);
          log.push({ at: now, calls, sent });
        }
        for (const [start, { at: from }] of log.entries()) {
          // Deposits of the ttl before count as well.
          let calls = 0;
          for (const entry of log.slice(0, start)) if (entry.at > from - settings.ttlMs) calls += entry.calls;
          let sent = 0;
          for (const entry of log.slice(start)) {
            calls += entry.calls;
            sent += entry.sent;
            // A stretch that does not start with a tenth of the window touches one tenth more.
            const ttls = Math.floor((entry.at - from) / settings.ttlMs + 0.1 + 1e-9) + 1;
            expect(sent).toBeLessThanOrEqual(settings.ratio * calls + reserve * ttls + 1e-6);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it("T-32: grants nothing for a clock that jumps about", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -3_600_000, max: 0 }), { maxLength: 50 }), (jumps) => {
        const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 1, ttlMs: 10_000 }, 0);
        let sent = 0;
        for (const now of jumps) if (budget.tryWithdraw(now)) sent++;
        expect(sent).toBe(Math.min(jumps.length, 10));
      }),
    );
  });
});

describe("retryConcurrencyLimit", () => {
  it("is a whole number, never below the minimum, never above the share", () => {
    fc.assert(
      fc.property(unit, fc.nat(100), fc.nat(1_000_000), (ratio, minimum, active) => {
        const limit = retryConcurrencyLimit({ ratio, minimum }, active);
        expect(Number.isInteger(limit)).toBe(true);
        expect(limit).toBeGreaterThanOrEqual(minimum);
        expect(limit).toBeLessThanOrEqual(Math.max(minimum, ratio * active + 1e-6));
      }),
    );
  });
});

describe("fullJitter", () => {
  it("stays within [0, min(cap, base × (2^retry − 1)))", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.integer({ min: 1, max: 100_000 }),
        unit,
        (baseMs, capMs, retry, chance) => {
          const delay = fullJitter({ baseMs, capMs }, retry, () => chance);
          expect(delay).toBeGreaterThanOrEqual(0);
          expect(delay).toBeLessThan(Math.min(capMs, baseMs * (2 ** retry - 1)));
        },
      ),
    );
  });
});

describe("Retry-After", () => {
  const wallClock = fc.date({ min: new Date(0), max: new Date("9999-12-31T23:59:59Z"), noInvalidDate: true });

  it("T-09: is undefined or within [0, max] for any text", () => {
    const text = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom(..."0123456789-+.,e GMTSunNov:\t".split("")) }),
      fc.nat().map(String),
      wallClock.map((date) => date.toUTCString()),
    );
    fc.assert(
      fc.property(text, wallClock, (value, now) => {
        const hintMs = parseRetryAfter(value, now.getTime());
        if (hintMs === undefined) return;
        expect(hintMs).toBeGreaterThanOrEqual(0);
        expect(hintMs).toBeLessThanOrEqual(MAX_RETRY_AFTER_MS);
      }),
    );
  });

  it("T-09: reads every date in the preferred form", () => {
    fc.assert(
      fc.property(wallClock, fc.integer({ min: 0, max: 300 }), (now, seconds) => {
        const whole = Math.floor(now.getTime() / 1_000) * 1_000;
        const date = new Date(whole + seconds * 1_000);
        fc.pre(date.getUTCFullYear() <= 9_999);
        expect(parseRetryAfter(date.toUTCString(), whole)).toBe(seconds * 1_000);
      }),
    );
  });

  it("moves a pause by at most 5 s and half as much again, and never shortens it", () => {
    fc.assert(
      fc.property(fc.nat(MAX_RETRY_AFTER_MS), fc.nat(20_000), unit, (hintMs, computedMs, chance) => {
        const delay = hintedDelay(hintMs, computedMs, () => chance);
        expect(delay).toBeGreaterThanOrEqual(computedMs);
        expect(delay).toBeLessThanOrEqual((computedMs + 5_000) * 1.5);
      }),
    );
  });
});

describe("attemptTimeoutMs", () => {
  it("is positive within the deadline and leaves time for the attempts that may follow", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 1, max: 10 }), (timeoutMs, maxAttempts) => {
        let remainingMs = timeoutMs;
        for (let attemptsLeft = maxAttempts; attemptsLeft >= 1; attemptsLeft--) {
          const input = { timeoutMs, remainingMs, perTryTimeoutMs: undefined, maxAttempts, attemptsLeft };
          const attemptMs = attemptTimeoutMs(input);
          expect(attemptMs).toBeGreaterThan(0);
          expect(attemptMs).toBeLessThanOrEqual(remainingMs);
          remainingMs -= attemptMs;
        }
        expect(remainingMs).toBe(0);
      }),
    );
  });
});
