import type { EndpointLoad } from "../balance/endpoint-load.js";
import type { AttemptRecord } from "../errors.js";
import { endpointAddress } from "../model/endpoint.js";
import { clusterLabel } from "../model/locality.js";
import type { AttemptScope } from "./observer.js";

/** One try of a call on one endpoint. */
export class Attempt {
  /** Ordinal in the call, from 1. */
  readonly number: number;
  readonly load: EndpointLoad;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  /** Whether it holds a place of the retry gate. */
  readonly isExtra: boolean;
  scope: AttemptScope | undefined = undefined;
  /** Set once, when response headers came or the attempt failed. */
  record: AttemptRecord | undefined = undefined;
  #released = false;

  constructor(number: number, load: EndpointLoad, startedAt: number, isExtra: boolean) {
    this.number = number;
    this.load = load;
    this.startedAt = startedAt;
    this.isExtra = isExtra;
    load.begin();
  }

  /** The attempt holds its endpoint no more: the body has ended, or it was cancelled. Counts once. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.load.end();
  }

  /** Settles the attempt's record; the first time counts. */
  settle(
    outcome: AttemptRecord["outcome"],
    now: number,
    detail: { readonly status?: number; readonly error?: Error } = {},
  ): void {
    if (this.record !== undefined) return;
    const { endpoint } = this.load;
    this.record = {
      number: this.number,
      endpoint: endpointAddress(endpoint),
      cluster: clusterLabel(endpoint.locality),
      outcome,
      status: detail.status,
      error: detail.error?.message,
      durationMs: now - this.startedAt,
    };
    this.scope?.settled?.(this.record);
  }
}
