import { describe, expect, it } from "vitest";
import { DEFAULT_RETRY_STATUSES, isIdempotentMethod, isThrottled, mayResend } from "../../src/policy/resend.js";

describe("isIdempotentMethod", () => {
  it.each(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "QUERY", "get", "query"])("%s is", (method) => {
    expect(isIdempotentMethod(method)).toBe(true);
  });

  it.each(["POST", "PATCH", "CONNECT", "post", "Get", "GET ", "", "constructor", "PROPFIND"])("%j is not", (method) => {
    expect(isIdempotentMethod(method)).toBe(false);
  });
});

describe("mayResend", () => {
  it.each([
    ["never-left", true, true],
    ["never-left", false, true],
    ["maybe-processed", true, true],
    ["maybe-processed", false, false],
    ["answered", true, true],
    ["answered", false, false],
  ] as const)("T-04: %s, idempotent %s: %s", (failure, idempotent, expected) => {
    expect(mayResend(failure, idempotent)).toBe(expected);
  });
});

describe("statuses", () => {
  it("retries 429, 502, 503 and 504, and not 500", () => {
    expect(DEFAULT_RETRY_STATUSES).toEqual([429, 502, 503, 504]);
    expect(Object.isFrozen(DEFAULT_RETRY_STATUSES)).toBe(true);
  });

  it.each([
    [429, false, true],
    [429, true, true],
    [503, true, true],
    [503, false, false],
    [502, true, false],
    [302, true, false],
  ])("%i with hint %s is throttled: %s", (status, hasHint, expected) => {
    expect(isThrottled(status, hasHint)).toBe(expected);
  });
});
