import type { FailureClass } from "../policy/resend.js";

/** Why an attempt failed, as the protocol adapter saw it. */
export interface AttemptFailure {
  /** Whether the server may have seen the request. */
  readonly class: Exclude<FailureClass, "answered">;
  readonly kind: "connect" | "timeout" | "other";
  /** The error of the transport, unchanged. */
  readonly error: Error;
  /**
   * The connection had served before and broke before a byte of the answer: most likely the server closed it while
   * idle. The first re-send of a call for this reason is not charged to the budget.
   */
  readonly staleConnection: boolean;
}

/** Response headers of an attempt, as far as the policies look at them. */
export interface AttemptResponse {
  readonly status: number;
  /** The status counts as a failure of the endpoint. */
  readonly isFailure: boolean;
  /** The status is one that a retry may mend. */
  readonly isRetriable: boolean;
  /** The server asked for less load. */
  readonly isThrottled: boolean;
  /** The server's hint when to come back, in milliseconds. */
  readonly retryAfterMs: number | undefined;
}
