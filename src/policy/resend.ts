/**
 * What may be sent again. The class of the failure decides, not the status alone: work must be neither lost nor done
 * twice.
 */

/**
 * How far a failed attempt got.
 * - `never-left`: no byte of the request reached a server that would act on it: connection refused or timed out, TLS
 *   handshake failed, nothing written, HTTP/2 `REFUSED_STREAM`, a stream beyond the last id of a GOAWAY.
 * - `maybe-processed`: the request, or a part of it, was written and no answer came: reset, closed, attempt timed out.
 * - `answered`: a response came and asks for another try, such as 429 or 503.
 */
export type FailureClass = "never-left" | "maybe-processed" | "answered";

/** Idempotent by RFC 9110, section 9.2.2, and by the definition of QUERY. */
const IDEMPOTENT_METHODS: ReadonlySet<string> = new Set(
  ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "QUERY"].flatMap((method) => [method, method.toLowerCase()]),
);

/**
 * Whether sending a request of this method twice has the effect of sending it once. Methods are case-sensitive in HTTP;
 * all-lower-case spellings, which clients commonly accept, count as well. Unknown methods are not idempotent.
 */
export function isIdempotentMethod(method: string): boolean {
  return IDEMPOTENT_METHODS.has(method);
}

/**
 * Whether a failed attempt may be followed by another one.
 *
 * A request that never left may be sent again whatever it is (gRFC A6, transparent retries). For anything else it has
 * to be idempotent: even an answer such as 503 does not prove that nothing was done, so a POST is not repeated for it.
 *
 * @param idempotent by method, by key, or because the caller declared it
 */
export function mayResend(failure: FailureClass, idempotent: boolean): boolean {
  return failure === "never-left" || idempotent;
}

/**
 * Statuses that ask for another try: too many requests, bad gateway, unavailable, gateway timeout. 500 is not among
 * them: it is the application's own answer, and would most likely be given again.
 */
export const DEFAULT_RETRY_STATUSES: readonly number[] = Object.freeze([429, 502, 503, 504]);

/**
 * Whether an answer says that the server has too much to do, so that the longer backoff applies.
 *
 * @param hasHint whether a valid `Retry-After` came with it: it tells a 503 of overload from one of a failure
 */
export function isThrottled(status: number, hasHint: boolean): boolean {
  return status === 429 || (status === 503 && hasHint);
}
