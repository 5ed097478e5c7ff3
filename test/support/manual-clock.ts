import type { Clock, Timer } from "../../src/clock.js";

interface PendingTimer {
  readonly dueMs: number;
  readonly fire: () => void;
  readonly isBackground: boolean;
}

/** A clock that moves when told. Timers fire in the order they are due; equal ones in the order they were set. */
export class ManualClock implements Clock {
  #nowMs: number;
  readonly #timers = new Set<PendingTimer>();

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    return this.#set(delayMs, fire, false);
  }

  setBackgroundTimer(delayMs: number, fire: () => void): Timer {
    return this.#set(delayMs, fire, true);
  }

  /** How many timers are set. */
  get timerCount(): number {
    return this.#timers.size;
  }

  /** How many of them keep the process alive. */
  get foregroundTimerCount(): number {
    return [...this.#timers].filter((timer) => !timer.isBackground).length;
  }

  /** Moves time on and fires what falls due, also timers that are set meanwhile. A timer sees the time it was due at. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (let next = this.#nextDue(endMs); next !== undefined; next = this.#nextDue(endMs)) {
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.fire();
    }
    this.#nowMs = endMs;
  }

  /** The same in steps, letting promises run after each timer: for code that awaits between timers. */
  async advanceAsync(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await turn();
    for (let next = this.#nextDue(endMs); next !== undefined; next = this.#nextDue(endMs)) {
      this.advance(Math.max(0, next.dueMs - this.#nowMs));
      await turn();
    }
    this.advance(endMs - this.#nowMs);
    await turn();
  }

  /** Moves time on without firing anything, as a stalled event loop does. */
  stall(ms: number): void {
    this.#nowMs += ms;
  }

  #set(delayMs: number, fire: () => void, isBackground: boolean): Timer {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), fire, isBackground };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  #nextDue(endMs: number): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }
}

/** Lets all promise callbacks run that are due. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
