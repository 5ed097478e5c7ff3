import type { Endpoint } from "../model/endpoint.js";
import { endpointCost } from "../policy/endpoint-cost.js";
import { PeakEwma } from "../policy/peak-ewma.js";
import { SuccessRate } from "../policy/success-rate.js";

/**
 * What this process has seen of one endpoint. Mutable, and lives as long as the endpoint's key is in the view: a new
 * backend id under the same address starts anew, a relabelled pod keeps its history (trap T-43).
 */
export class EndpointLoad {
  /** The endpoint as the newest view describes it. */
  endpoint: Endpoint;
  /** Attempts under way, counted from the pick to the end of the response body or the cancellation. */
  inflight = 0;
  /** Attempts picked so far. */
  picks = 0;
  readonly #latency = new PeakEwma();
  readonly #success = new SuccessRate();

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
  }

  /** Counts an attempt that is about to be sent. Each begin is followed by exactly one {@link end}. */
  begin(): void {
    this.inflight += 1;
    this.picks += 1;
  }

  /** The attempt is over: its body has ended, or it was cancelled. */
  end(): void {
    this.inflight -= 1;
  }

  /** Response headers came: latency counts for successes only, success for both. */
  answered(ok: boolean, latencyMs: number, now: number): void {
    if (ok) this.#latency.observe(latencyMs, now);
    this.#success.record(ok, now);
  }

  /** The attempt failed on the way. */
  failed(now: number): void {
    this.#success.record(false, now);
  }

  /** The attempt was given up after `elapsedMs` without an answer: the latency is at least that. */
  censored(elapsedMs: number, now: number): void {
    this.#latency.observeAtLeast(elapsedMs, now);
  }

  /** Latency estimate in milliseconds; undefined before the first sample. */
  latencyMs(now: number): number | undefined {
    return this.#latency.value(now);
  }

  successRate(now: number): number {
    return this.#success.value(now);
  }

  /** What a pick compares; `seedMs` stands for the latency of an endpoint that has no sample. */
  cost(seedMs: number, now: number): number {
    const latencyMs = this.#latency.estimate(now, this.inflight, seedMs);
    return endpointCost(latencyMs, this.inflight, 1, this.#success.value(now));
  }
}
