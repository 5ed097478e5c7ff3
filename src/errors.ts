/**
 * The one error class of the package. `code` is stable and documented, `cause` is the last underlying error,
 * unchanged, and `attempts` tells what was tried where.
 */

/** Stable codes; new ones may be added in a minor version, none changes its meaning. */
export type OnehopErrorCode =
  /** An option is unknown or has a wrong value. */
  | "ERR_ONEHOP_CONFIG"
  /** Discovery works and the service has no endpoint that may be called. */
  | "ERR_ONEHOP_NO_ENDPOINTS"
  /** The deadline passed before response headers arrived. */
  | "ERR_ONEHOP_DEADLINE"
  /** The last attempt failed before the request left this process: it was not processed. */
  | "ERR_ONEHOP_UNREACHABLE"
  /** The last attempt failed after the request was written: the server may have processed it. */
  | "ERR_ONEHOP_MAYBE_PROCESSED"
  /** A retry was due, but the request body was a one-shot stream that had been consumed. */
  | "ERR_ONEHOP_BODY_NOT_REPLAYABLE"
  /** The mesh was closed. */
  | "ERR_ONEHOP_CLOSED"
  /** The name of the service could not be resolved to an address. */
  | "ERR_ONEHOP_NAME"
  /** The endpoints could not be read from any source and no service address is known either. */
  | "ERR_ONEHOP_DISCOVERY_UNAVAILABLE"
  /** The maps cannot be read by this process; `reason` and the message say why and how to mend it. */
  | "ERR_ONEHOP_KERNEL"
  /** Bytes or text from outside do not have the expected form. */
  | "ERR_ONEHOP_MALFORMED";

/** What one attempt of a call came to. */
export interface AttemptRecord {
  /** Ordinal, from 1. */
  readonly number: number;
  /** `address:port` that was dialled. */
  readonly endpoint: string;
  /** Name (or `#number`) of the endpoint's cluster; undefined when it is not known. */
  readonly cluster: string | undefined;
  /** `response`, or the class of the failure. */
  readonly outcome: "response" | "never-left" | "maybe-processed" | "cancelled";
  /** HTTP status where a response came. */
  readonly status: number | undefined;
  /** The failure, for people. */
  readonly error: string | undefined;
  /** How long the attempt took, in milliseconds. */
  readonly durationMs: number;
}

/** Details an {@link OnehopError} may carry. */
export interface OnehopErrorDetails {
  readonly cause?: unknown;
  readonly attempts?: readonly AttemptRecord[];
  /** A finer, stable word within the code, for example `file-mode` for `ERR_ONEHOP_KERNEL`. */
  readonly reason?: string;
}

const BRAND = Symbol.for("onehop.error");

/** Every error that onehop makes. Recognise it with {@link isOnehopError}, which works across copies of the package. */
export class OnehopError extends Error {
  override readonly name = "OnehopError";
  readonly code: OnehopErrorCode;
  readonly attempts: readonly AttemptRecord[];
  readonly reason: string | undefined;

  constructor(code: OnehopErrorCode, message: string, details: OnehopErrorDetails = {}) {
    super(message, "cause" in details ? { cause: details.cause } : undefined);
    this.code = code;
    this.attempts = details.attempts ?? [];
    this.reason = details.reason;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** Plain data for logs. */
  toJSON(): Record<string, unknown> {
    const cause = this.cause instanceof Error ? `${this.cause.name}: ${this.cause.message}` : this.cause;
    return {
      name: this.name,
      code: this.code,
      reason: this.reason,
      message: this.message,
      attempts: this.attempts,
      cause,
    };
  }
}

/** Whether `value` is an {@link OnehopError}, made by this or another copy of the package. */
export function isOnehopError(value: unknown): value is OnehopError {
  return typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[BRAND] === true;
}

/** What calls get after `close()`. */
export function closedError(): OnehopError {
  return new OnehopError("ERR_ONEHOP_CLOSED", "the mesh is closed; make a new one or close it later");
}
