/**
 * One logical call: attempts, retries, backoff and the deadline, for any protocol. The protocol adapter drives it and
 * is driven by it ({@link CallDriver}); the engine knows neither sockets nor headers.
 *
 * States:
 *
 * - `waiting`      the first view of the service is not known yet
 * - `attempting`   an attempt is under way, no response headers yet
 * - `backing-off`  a failed attempt will be followed by another one after a pause
 * - `queued`       the pause is over, the retry gate has no place yet
 * - `committed`    response headers were handed to the caller: no more attempts
 * - `ended`        the caller has an error, or the response is complete
 *
 * At any time at most one timer is set: the attempt's (never longer than the deadline), the backoff's (always shorter),
 * or the deadline's own while waiting or queued. All of them keep the process alive, since a caller awaits the call.
 */

import type { EndpointLoad } from "../balance/endpoint-load.js";
import { FIRST_PICK } from "../balance/picker.js";
import type { Timer } from "../clock.js";
import { endpointAddress } from "../model/endpoint.js";
import type { MeshEventOf } from "../model/event.js";
import { attemptTimeoutMs } from "../policy/attempt-timeout.js";
import { fullJitter } from "../policy/backoff.js";
import { mayResend } from "../policy/resend.js";
import { hintedDelay } from "../policy/retry-after.js";
import { crossesTier } from "../policy/retry-spread.js";
import { Attempt } from "./attempt.js";
import type { AttemptFailure, AttemptResponse } from "./attempt-failure.js";
import { attemptTimedOut, callFailed, deadlinePassed } from "./call-errors.js";
import type { CallPolicy, CallService } from "./call-service.js";

/** What the engine asks of a protocol adapter. */
export interface CallDriver {
  readonly method: string;
  /** Whether processing the request twice is the same as once, by method or by declaration. */
  readonly isIdempotent: boolean;
  /** Whether the request can be sent again from its start: its body is there or can be made again. */
  canReplay(): boolean;
  /**
   * A retry is decided, while {@link canReplay} held: from now on nothing may make the request unrepeatable, such as the
   * attempt before, which may still be sending its body.
   */
  rewind(): void;
  /** Sends an attempt. Reports back by `responded`, `failed`, `completed`; never throws. */
  send(attempt: Attempt): void;
  /**
   * Drops an attempt; nothing of it is reported or handed on any more.
   *
   * @returns whether its request may have left
   */
  abandon(attempt: Attempt, reason: Error): AttemptFailure["class"];
  /** The call ends with an error: instead of a response, or, when the caller cancelled, in the middle of its body. */
  fail(error: unknown): void;
}

export type CallState = "waiting" | "attempting" | "backing-off" | "queued" | "committed" | "ended";

/** Timers may fire up to a millisecond early: less than this before the deadline counts as the deadline. */
const TIMER_SLACK_MS = 1;

type SuppressReason = MeshEventOf<"retry-suppressed">["reason"];

export class Call {
  readonly #service: CallService;
  readonly #policy: CallPolicy;
  readonly #driver: CallDriver;
  readonly #deadlineAt: number;
  readonly #attempts: Attempt[] = [];
  #state: CallState = "waiting";
  #timer: Timer | undefined;
  /** The last failure, which decides where the next attempt goes and what the caller is told in the end. */
  #lastFailure: AttemptFailure | undefined;
  #freeResendUsed = false;
  #nextIsCharged = false;

  /** @param startedAt when the caller made the call, in monotonic milliseconds; default now */
  constructor(service: CallService, policy: CallPolicy, driver: CallDriver, startedAt: number = service.clock.now()) {
    this.#service = service;
    this.#policy = policy;
    this.#driver = driver;
    this.#deadlineAt = startedAt + policy.timeoutMs;
    service.gate.callStarted();
  }

  get state(): CallState {
    return this.#state;
  }

  /** Starts the call. */
  begin(): void {
    if (this.#service.isSettled) {
      this.#attempt(false);
      return;
    }
    this.#setTimer(this.#deadlineAt, () =>
      this.#end(deadlinePassed(this.#policy.timeoutMs, "waiting for endpoints", [], undefined)),
    );
    this.#service.waitForView(this);
  }

  /** The first view came. */
  viewReady(): void {
    if (this.#state === "waiting") this.#attempt(false);
  }

  /** A place of the retry gate is taken for this call. */
  admitted(): void {
    this.#attempt(true);
  }

  /** The caller gave up: everything stops now, and `reason` reaches the caller unchanged. */
  cancel(reason: unknown): void {
    if (this.#state === "ended") return;
    const error = reason instanceof Error ? reason : new Error("the call was aborted", { cause: reason });
    const attempt = this.#attempts.at(-1);
    if (attempt !== undefined && attempt.record === undefined) {
      const now = this.#service.clock.now();
      attempt.load.censored(now - attempt.startedAt, now);
      this.#finishAttempt(attempt, "cancelled", { error });
    }
    if (attempt !== undefined) {
      attempt.release();
      this.#driver.abandon(attempt, error);
    }
    this.#end(reason);
  }

  /**
   * Response headers of an attempt.
   *
   * @returns `commit`: hand the response to the caller; `discard`: drop it, another attempt follows
   */
  responded(attempt: Attempt, response: AttemptResponse): "commit" | "discard" {
    const now = this.#service.clock.now();
    attempt.load.answered(!response.isFailure, now - attempt.startedAt, now);
    this.#finishAttempt(attempt, "response", { status: response.status });
    if (response.isRetriable && this.#retry(attempt, response)) return "discard";
    if (this.#isEnded()) return "discard";
    this.#cancelTimer();
    this.#state = "committed";
    return "commit";
  }

  /** An attempt failed before its response headers. */
  failed(attempt: Attempt, failure: AttemptFailure): void {
    const now = this.#service.clock.now();
    if (failure.kind === "timeout") attempt.load.censored(now - attempt.startedAt, now);
    attempt.load.failed(now);
    attempt.release();
    this.#finishAttempt(attempt, failure.class, { error: failure.error });
    this.#lastFailure = failure;
    this.#service.refresh();
    if (!this.#retry(attempt, failure)) this.#end(this.#errorOf(attempt, failure));
  }

  /**
   * The request as the caller made it cannot be sent, or its body fails: the call ends with `error` unchanged, and the
   * endpoint is not blamed.
   */
  refused(attempt: Attempt, error: unknown): void {
    attempt.release();
    this.#finishAttempt(attempt, "cancelled", { error: error instanceof Error ? error : new Error(String(error)) });
    this.#end(error);
  }

  /** The response of the committed attempt is complete, or broke off; the adapter has told the caller. */
  completed(attempt: Attempt): void {
    attempt.release();
    if (this.#state === "committed") this.#leave();
  }

  #attempt(isExtra: boolean): void {
    const service = this.#service;
    const now = service.clock.now();
    const load = this.#pick(now);
    if (load === undefined) {
      if (isExtra) service.gate.leave();
      this.#nothingLeft();
      return;
    }
    if (this.#attempts.length === 0) service.budget.deposit(now);
    const attempt = new Attempt(this.#attempts.length + 1, load, now, isExtra);
    this.#attempts.push(attempt);
    this.#state = "attempting";
    const timeoutMs = attemptTimeoutMs({
      remainingMs: this.#deadlineAt - now,
      timeoutMs: this.#policy.timeoutMs,
      perTryTimeoutMs: this.#policy.perTryTimeoutMs,
      maxAttempts: this.#policy.maxAttempts,
      attemptsLeft: this.#driver.isIdempotent ? this.#policy.maxAttempts - attempt.number + 1 : 1,
    });
    this.#setTimer(now + timeoutMs, () => this.#attemptTimedOut(attempt));
    this.#driver.send(attempt);
  }

  #pick(now: number): EndpointLoad | undefined {
    const { balancer, random } = this.#service;
    const { picker } = balancer;
    const last = this.#attempts.at(-1);
    if (last === undefined) return picker.pick(FIRST_PICK, now, random);
    const { spread } = this.#policy;
    const tried = this.#attempts.map((attempt) => attempt.load);
    const tier = picker.tiers[picker.tierOf(last.load)] ?? [];
    const crosses =
      spread === "same-then-other" &&
      crossesTier({
        attempt: this.#attempts.length + 1,
        lastFailure: this.#lastFailure?.kind ?? "other",
        untriedInTier: tier.filter((load) => !tried.includes(load)).length,
        tierSize: tier.length,
      });
    const leaveTierOf = crosses ? last.load : undefined;
    const stayInTierOf = spread === "never-cross" ? last.load : undefined;
    return picker.pick({ tried, leaveTierOf, stayInTierOf }, now, random);
  }

  #attemptTimedOut(attempt: Attempt): void {
    const waitedMs = Math.round(this.#service.clock.now() - attempt.startedAt);
    const error = attemptTimedOut(endpointAddress(attempt.load.endpoint), waitedMs);
    const failureClass = this.#driver.abandon(attempt, error);
    this.failed(attempt, { class: failureClass, kind: "timeout", error, staleConnection: false });
  }

  /**
   * Decides whether another attempt follows `attempt`, and sets it going.
   *
   * @returns false when this outcome is the call's
   */
  #retry(attempt: Attempt, cause: AttemptFailure | AttemptResponse): boolean {
    if (this.#isEnded()) return true;
    const now = this.#service.clock.now();
    const isResponse = "status" in cause;
    const delayMs = this.#delay(cause);
    const isFree = !isResponse && !this.#freeResendUsed && (cause.class === "never-left" || cause.staleConnection);
    // A server that asks to be left alone for longer than the call lasts is not asked again, however short the clamped pause.
    const hintMs = isResponse ? (cause.retryAfterMs ?? 0) : 0;
    const obstacle = this.#obstacle(isResponse ? "answered" : cause.class, now + Math.max(delayMs, hintMs));
    if (obstacle !== undefined) return this.#suppress(attempt, obstacle);
    if (!isFree && !this.#service.budget.tryWithdraw(now)) return this.#suppress(attempt, "budget");
    this.#driver.rewind();
    if (isFree) this.#freeResendUsed = true;
    this.#nextIsCharged = !isFree;
    if (isResponse) this.#lastFailure = undefined;
    const reason = isResponse ? `status ${cause.status}` : cause.error.message;
    const { endpoint } = attempt.load;
    this.#service.notify({
      type: "retry",
      service: this.#service.id,
      attempt: attempt.number,
      endpoint,
      reason,
      delayMs,
    });
    if (this.#isEnded()) return true;
    this.#state = "backing-off";
    this.#setTimer(now + delayMs, () => this.#backoffOver());
    return true;
  }

  /** What forbids another attempt, the budget aside. */
  #obstacle(failure: "answered" | AttemptFailure["class"], readyAt: number): SuppressReason | undefined {
    if (this.#attempts.length >= this.#policy.maxAttempts) return "max-attempts";
    if (!mayResend(failure, this.#driver.isIdempotent)) return "not-idempotent";
    if (!this.#driver.canReplay()) return "body-not-replayable";
    if (this.#service.balancer.picker.isEmpty) return "no-endpoint";
    if (readyAt >= this.#deadlineAt - TIMER_SLACK_MS) return "deadline";
    return undefined;
  }

  #delay(cause: AttemptFailure | AttemptResponse): number {
    const { random } = this.#service;
    const throttled = "status" in cause && cause.isThrottled;
    const computed = fullJitter(
      throttled ? this.#policy.throttledBackoff : this.#policy.backoff,
      this.#attempts.length,
      random,
    );
    const hint = "status" in cause ? cause.retryAfterMs : undefined;
    return hint === undefined ? computed : hintedDelay(hint, computed, random);
  }

  #suppress(attempt: Attempt, reason: SuppressReason): false {
    this.#service.notify({ type: "retry-suppressed", service: this.#service.id, attempt: attempt.number, reason });
    return false;
  }

  #backoffOver(): void {
    if (!this.#nextIsCharged) {
      this.#attempt(false);
      return;
    }
    this.#state = "queued";
    this.#setTimer(this.#deadlineAt, () => {
      const cause = this.#lastFailure?.error;
      this.#end(deadlinePassed(this.#policy.timeoutMs, "queued for a retry", this.#records(), cause));
    });
    this.#service.gate.enter(this);
  }

  /** Settles the attempt's outcome and gives its place of the retry gate back. */
  #finishAttempt(
    attempt: Attempt,
    outcome: "response" | "never-left" | "maybe-processed" | "cancelled",
    detail: { readonly status?: number; readonly error?: Error },
  ): void {
    if (attempt.record !== undefined) return;
    attempt.settle(outcome, this.#service.clock.now(), detail);
    if (attempt.isExtra) this.#service.gate.leave();
  }

  /** The view became empty since the last attempt, or was before the first one. */
  #nothingLeft(): void {
    const last = this.#attempts.at(-1);
    if (last === undefined || this.#lastFailure === undefined) {
      this.#end(this.#service.unavailableError());
      return;
    }
    this.#suppress(last, "no-endpoint");
    this.#end(this.#errorOf(last, this.#lastFailure));
  }

  /** What the caller is told when no attempt follows `failure`. */
  #errorOf(attempt: Attempt, failure: AttemptFailure): Error {
    const records = this.#records();
    const isDeadline = this.#service.clock.now() >= this.#deadlineAt - TIMER_SLACK_MS;
    if (failure.kind === "timeout" && isDeadline) {
      const phase = `waiting for ${endpointAddress(attempt.load.endpoint)}`;
      return deadlinePassed(this.#policy.timeoutMs, phase, records, failure.error);
    }
    return callFailed(this.#service.id, failure, records, this.#isBodyGone(failure));
  }

  #isBodyGone(failure: AttemptFailure): boolean {
    return (
      this.#attempts.length < this.#policy.maxAttempts &&
      mayResend(failure.class, this.#driver.isIdempotent) &&
      !this.#driver.canReplay()
    );
  }

  #records(): NonNullable<Attempt["record"]>[] {
    return this.#attempts.map((attempt) => attempt.record).filter((record) => record !== undefined);
  }

  #end(error: unknown): void {
    if (this.#state === "ended") return;
    this.#leave();
    this.#driver.fail(error);
  }

  /** Listeners and observers, which are told of every step, may cancel the call. */
  #isEnded(): boolean {
    return this.#state === "ended";
  }

  /** Leaves every list and stops the timer. */
  #leave(): void {
    if (this.#state === "queued") this.#service.gate.forget(this);
    if (this.#state === "waiting") this.#service.stopWaiting(this);
    this.#state = "ended";
    this.#cancelTimer();
    this.#service.gate.callEnded();
  }

  #setTimer(at: number, fire: () => void): void {
    this.#cancelTimer();
    this.#timer = this.#service.clock.setTimer(at - this.#service.clock.now(), fire);
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
