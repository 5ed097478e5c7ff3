import { type AttemptRecord, OnehopError } from "../errors.js";
import type { AttemptFailure } from "./attempt-failure.js";

/**
 * An attempt got no response headers in its time. Its name is that of timeouts on the web platform.
 *
 * @param address `address:port` of the endpoint
 */
export function attemptTimedOut(address: string, waitedMs: number): Error {
  return new DOMException(`no response headers from ${address} within ${waitedMs} ms`, "TimeoutError");
}

/**
 * The deadline passed: `phase` says what the call was doing.
 *
 * @param cause the error of the last attempt, where it failed
 */
export function deadlinePassed(
  timeoutMs: number,
  phase: string,
  attempts: readonly AttemptRecord[],
  cause: Error | undefined,
): OnehopError {
  return new OnehopError(
    "ERR_ONEHOP_DEADLINE",
    `the deadline of ${timeoutMs} ms passed while ${phase} (${attemptCount(attempts.length)}); raise timeoutMs or look at attempts[]`,
    { attempts, reason: "deadline", ...(cause === undefined ? {} : { cause }) },
  );
}

/**
 * The error a caller gets when the last attempt failed: its code tells whether the request may have been processed,
 * its cause is the transport's own error.
 */
export function callFailed(
  service: string,
  failure: AttemptFailure,
  attempts: readonly AttemptRecord[],
  isBodyGone: boolean,
): OnehopError {
  const { error } = failure;
  const tried = attemptCount(attempts.length);
  if (isBodyGone) {
    return new OnehopError(
      "ERR_ONEHOP_BODY_NOT_REPLAYABLE",
      `${service}: ${error.message} (${tried}); a retry was due, but the body is a stream that was consumed: ` +
        "pass a string, a buffer, a Blob or a function that makes the body",
      { attempts, cause: error, reason: failure.class },
    );
  }
  if (failure.class === "never-left") {
    return new OnehopError("ERR_ONEHOP_UNREACHABLE", `${service}: ${error.message} (${tried}); it was not processed`, {
      attempts,
      cause: error,
      reason: failure.kind,
    });
  }
  return new OnehopError(
    "ERR_ONEHOP_MAYBE_PROCESSED",
    `${service}: ${error.message} (${tried}); the server may have processed it`,
    { attempts, cause: error, reason: failure.kind },
  );
}

function attemptCount(count: number): string {
  return count === 1 ? "1 attempt" : `${count} attempts`;
}
