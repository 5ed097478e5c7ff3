import type { AttemptRecord } from "../errors.js";
import type { Endpoint } from "../model/endpoint.js";

/** What an observer is told of an attempt that is about to be sent. */
export interface AttemptStart {
  readonly service: string;
  readonly port: number;
  readonly method: string;
  /** Ordinal of the attempt in its call, from 1. */
  readonly number: number;
  readonly endpoint: Endpoint;
}

/** What an observer made of one attempt. Every part is optional and costs nothing when absent. */
export interface AttemptScope {
  /** Headers to send with this attempt; they replace headers of the same name. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Runs the dispatch, for example inside a tracing context that suppresses other instrumentation. */
  readonly run?: (dispatch: () => void) => void;
  /** Runs a callback into the caller's code, for example in the context that was active when the call was made. */
  readonly callback?: (deliver: () => void) => void;
  /** The attempt has its outcome: response headers, or a failure. */
  readonly settled?: (record: AttemptRecord) => void;
}

/**
 * The seam for telemetry: sees every attempt, may add headers to it, run its dispatch in a context and bind callbacks
 * back. An observer that throws is reported once and otherwise ignored.
 */
export interface AttemptObserver {
  /** Runs in the async context in which the call was made, for every attempt of it (trap T-28). */
  attemptStarted(start: AttemptStart): AttemptScope | undefined;
}
