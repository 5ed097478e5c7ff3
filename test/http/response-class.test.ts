import { describe, expect, it } from "vitest";
import { classifyResponse } from "../../src/http/response-class.js";
import { DEFAULT_RETRY_STATUSES } from "../../src/policy/resend.js";

const statuses = new Set(DEFAULT_RETRY_STATUSES);
const NOW = Date.UTC(2026, 0, 1);
const raw = (...headers: readonly string[]): Buffer[] => headers.map((text) => Buffer.from(text, "latin1"));
const classify = (status: number, ...headers: readonly string[]) =>
  classifyResponse(status, raw(...headers), statuses, () => NOW);

describe("classifyResponse", () => {
  it.each([200, 201, 204, 206, 301, 304, 400, 404, 409, 501, 505])("%i blames nobody and is not retried", (status) => {
    expect(classify(status)).toEqual({
      status,
      isFailure: false,
      isRetriable: false,
      isThrottled: false,
      retryAfterMs: undefined,
    });
  });

  it.each([
    [429, true, true, true],
    [500, true, false, false],
    [502, true, true, false],
    [503, true, true, false],
    [504, true, true, false],
    [507, true, false, false],
  ])("%i: failure %s, retriable %s, throttled %s", (status, isFailure, isRetriable, isThrottled) => {
    expect(classify(status)).toMatchObject({ status, isFailure, isRetriable, isThrottled });
  });

  it("reads the server's hint of 429 and 503 only", () => {
    expect(classify(503, "date", "x", "Retry-After", "7")).toMatchObject({ retryAfterMs: 7_000, isThrottled: true });
    expect(classify(429, "retry-after", "0")).toMatchObject({ retryAfterMs: 0, isThrottled: true });
    expect(classify(502, "retry-after", "7").retryAfterMs).toBeUndefined();
    expect(classify(301, "retry-after", "7").retryAfterMs).toBeUndefined();
  });

  it("reads dates by the wall clock, and ignores what is neither", () => {
    expect(classify(503, "RETRY-AFTER", "Thu, 01 Jan 2026 00:00:09 GMT").retryAfterMs).toBe(9_000);
    expect(classify(503, "retry-after", "-1")).toMatchObject({ retryAfterMs: undefined, isThrottled: false });
    expect(classify(503, "retry-after")).toMatchObject({ retryAfterMs: undefined, isThrottled: false });
    expect(classify(503, "x", "retry-after")).toMatchObject({ retryAfterMs: undefined });
  });

  it("follows the configured statuses", () => {
    expect(classifyResponse(404, [], new Set([404]), () => NOW)).toMatchObject({ isRetriable: true, isFailure: false });
    expect(classifyResponse(503, [], new Set(), () => NOW)).toMatchObject({ isRetriable: false, isFailure: true });
  });
});
