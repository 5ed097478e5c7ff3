import type { AttemptResponse } from "../call/attempt-failure.js";
import { isThrottled } from "../policy/resend.js";
import { parseRetryAfter } from "../policy/retry-after.js";

const RETRY_AFTER = "retry-after";

/**
 * What the policies need to know of response headers.
 *
 * 5xx count against the endpoint, save 501 and 505, which speak of the request; so does 429 (Linkerd).
 *
 * @param rawHeaders names and values in turn, as undici delivers them
 * @param retryStatuses the statuses that a retry may mend
 * @param wallNowMs for dates in `Retry-After`
 */
export function classifyResponse(
  status: number,
  rawHeaders: readonly Buffer[],
  retryStatuses: ReadonlySet<number>,
  wallNowMs: () => number,
): AttemptResponse {
  if (status < 400) return OK[status] ?? { ...PLAIN, status };
  const mayHint = status === 429 || status === 503;
  const hint = mayHint ? findHeader(rawHeaders, RETRY_AFTER) : undefined;
  const retryAfterMs = hint === undefined ? undefined : parseRetryAfter(hint, wallNowMs());
  return {
    status,
    isFailure: (status >= 500 && status !== 501 && status !== 505) || status === 429,
    isRetriable: retryStatuses.has(status),
    isThrottled: isThrottled(status, retryAfterMs !== undefined),
    retryAfterMs,
  };
}

const PLAIN = { isFailure: false, isRetriable: false, isThrottled: false, retryAfterMs: undefined };

/** The answers of nearly all calls, made once. */
const OK: Readonly<Record<number, AttemptResponse>> = {
  200: { ...PLAIN, status: 200 },
  201: { ...PLAIN, status: 201 },
  204: { ...PLAIN, status: 204 },
  304: { ...PLAIN, status: 304 },
};

function findHeader(rawHeaders: readonly Buffer[], name: string): string | undefined {
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const key = rawHeaders[index];
    if (key?.length === name.length && key.toString("latin1").toLowerCase() === name) {
      return rawHeaders[index + 1]?.toString("latin1");
    }
  }
  return undefined;
}
