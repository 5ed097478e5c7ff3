import { describe, expect, it } from "vitest";
import { hintedDelay, MAX_RETRY_AFTER_MS, parseRetryAfter } from "../../src/policy/retry-after.js";

const NOW = Date.UTC(1994, 10, 6, 8, 49, 37);

describe("parseRetryAfter", () => {
  it.each([
    ["0", 0],
    ["1", 1_000],
    ["120", 120_000],
    ["007", 7_000],
    [" 5\t", 5_000],
    ["300", 300_000],
    ["301", MAX_RETRY_AFTER_MS],
    ["2147484", MAX_RETRY_AFTER_MS],
    ["99999999999999", MAX_RETRY_AFTER_MS],
    ["9".repeat(400), MAX_RETRY_AFTER_MS],
  ])("T-09: reads seconds: %j", (text, expected) => {
    expect(parseRetryAfter(text, NOW)).toBe(expected);
  });

  it.each([
    ["Sun, 06 Nov 1994 08:49:37 GMT", 0],
    ["Sun, 06 Nov 1994 08:49:39 GMT", 2_000],
    ["Sun, 06 Nov 1994 08:49:60 GMT", 23_000],
    ["Sun, 06 Nov 1994 08:49:36 GMT", 0],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["Thu, 29 Feb 1996 00:00:00 GMT", MAX_RETRY_AFTER_MS],
    ["Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_MS],
  ])("T-09: reads dates: %j", (text, expected) => {
    expect(parseRetryAfter(text, NOW)).toBe(expected);
  });

  it.each([
    "",
    " ",
    "-1",
    "+1",
    "1.5",
    "1e3",
    "0x10",
    "12abc",
    "abc",
    "NaN",
    "Infinity",
    "5, 10",
    "5;q=1",
    "1 2",
    "１２",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "sun, 06 nov 1994 08:49:37 gmt",
    "Mon, 06 Nov 1994 08:49:37 GMT",
    "Thu, 31 Feb 1994 08:49:37 GMT",
    "Thu, 29 Feb 1994 08:49:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:00 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 06 Nov 0094 08:49:37 GMT",
    "1994-11-06T08:49:37Z",
    "5\n",
  ])("T-09: takes %j for no hint", (text) => {
    expect(parseRetryAfter(text, NOW)).toBeUndefined();
  });

  it("T-09: never exceeds what a timer of Node can hold", () => {
    expect(MAX_RETRY_AFTER_MS).toBeLessThan(2 ** 31 - 1);
  });
});

describe("hintedDelay", () => {
  it.each([
    ["a hint below the computed pause", 50, 200, 200],
    ["a hint of 0", 0, 200, 200],
    ["a hint in between", 3_000, 200, 3_000],
    ["a hint beyond 5 s more", 120_000, 200, 5_200],
  ])("clamps %s", (_, hintMs, computedMs, expected) => {
    expect(hintedDelay(hintMs, computedMs, () => 0)).toBe(expected);
    expect(hintedDelay(hintMs, computedMs, () => 0.5)).toBe(expected * 1.25);
    expect(hintedDelay(hintMs, computedMs, () => 1 - 2 ** -53)).toBeCloseTo(expected * 1.5, 6);
  });
});
