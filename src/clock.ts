/** The only file that reads a clock or sets a timer; everything else takes a {@link Clock}. */

/** A timer that has been set. */
export interface Timer {
  /** Stops the timer; harmless when it has fired or was cancelled before. */
  cancel(): void;
}

/**
 * Monotonic time in milliseconds. Wall-clock time is never used for decisions: it jumps (trap T-32).
 */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes back. */
  now(): number;
  /**
   * Calls `fire` once after `delayMs` and keeps the process alive until then: for what a caller awaits.
   * Delays are clamped to [0, 2^31 - 1]; Node fires longer ones at once.
   */
  setTimer(delayMs: number, fire: () => void): Timer;
  /** The same for background work: does not keep the process alive. */
  setBackgroundTimer(delayMs: number, fire: () => void): Timer;
}

const LONGEST_TIMER_MS = 2_147_483_647;

function clampDelay(delayMs: number): number {
  return delayMs > 0 ? Math.min(delayMs, LONGEST_TIMER_MS) : 0;
}

/** The process's own clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(delayMs, fire) {
    const handle = setTimeout(fire, clampDelay(delayMs));
    return { cancel: () => clearTimeout(handle) };
  },
  setBackgroundTimer(delayMs, fire) {
    const handle = setTimeout(fire, clampDelay(delayMs));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `delayMs` of background time. */
export function backgroundDelay(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setBackgroundTimer(delayMs, resolve);
  });
}

/**
 * Wall-clock milliseconds since 1970: only for comparing with dates that others wrote, such as `Retry-After`. Never
 * for measuring.
 */
export function wallNowMs(): number {
  return Date.now();
}
