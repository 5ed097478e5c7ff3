import { describe, expect, it } from "vitest";
import { type AttemptTimeoutInput, attemptTimeoutMs } from "../../src/policy/attempt-timeout.js";

const FIRST: AttemptTimeoutInput = {
  timeoutMs: 15_000,
  remainingMs: 15_000,
  perTryTimeoutMs: undefined,
  maxAttempts: 3,
  attemptsLeft: 3,
};

describe("attemptTimeoutMs", () => {
  it.each<[string, Partial<AttemptTimeoutInput>, number]>([
    ["divides the deadline by the attempts", {}, 5_000],
    ["gives one allowed attempt everything", { maxAttempts: 1, attemptsLeft: 1 }, 15_000],
    ["keeps the share of the second after a slow first", { remainingMs: 9_900, attemptsLeft: 2 }, 5_000],
    ["shares what a quick first attempt left", { remainingMs: 14_900, attemptsLeft: 2 }, 7_450],
    ["gives the last attempt all that remains", { remainingMs: 14_800, attemptsLeft: 1 }, 14_800],
    ["gives everything where a timeout could not be followed", { attemptsLeft: 1 }, 15_000],
    ["takes the configured timeout", { perTryTimeoutMs: 800 }, 800],
    ["takes it for the last attempt as well", { perTryTimeoutMs: 800, attemptsLeft: 1 }, 800],
    ["takes it for the only attempt as well", { perTryTimeoutMs: 800, maxAttempts: 1, attemptsLeft: 1 }, 800],
    ["T-10: never exceeds what remains", { remainingMs: 100, attemptsLeft: 2 }, 100],
    ["T-10: never exceeds what remains, configured or not", { remainingMs: 100, perTryTimeoutMs: 800 }, 100],
    ["T-10: is 0 when the deadline has passed", { remainingMs: -5 }, 0],
    ["T-10: is 0 when the deadline has passed, configured or not", { remainingMs: -5, perTryTimeoutMs: 800 }, 0],
  ])("%s", (_, change, expected) => {
    expect(attemptTimeoutMs({ ...FIRST, ...change })).toBe(expected);
  });
});
