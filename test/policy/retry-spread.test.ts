import { describe, expect, it } from "vitest";
import { crossesTier, type SpreadInput } from "../../src/policy/retry-spread.js";

const SECOND: SpreadInput = { attempt: 2, lastFailure: "other", tierSize: 3, untriedInTier: 2 };

describe("crossesTier", () => {
  it.each<[string, Partial<SpreadInput>, boolean]>([
    ["stays for the first retry after an answer", {}, false],
    ["leaves after a timeout", { lastFailure: "timeout" }, true],
    ["leaves without a connection", { lastFailure: "connect" }, true],
    ["leaves a tier that was tried out", { untriedInTier: 0 }, true],
    ["leaves a tier of one, tried or not", { tierSize: 1, untriedInTier: 1 }, true],
    ["stays in a tier of two with one untried", { tierSize: 2, untriedInTier: 1 }, false],
    ["leaves for the second retry", { attempt: 3 }, true],
    ["leaves for any later one", { attempt: 9 }, true],
    ["stays for the first attempt, whatever came before", { attempt: 1, lastFailure: "timeout" }, false],
  ])("%s", (_, change, expected) => {
    expect(crossesTier({ ...SECOND, ...change })).toBe(expected);
  });
});
