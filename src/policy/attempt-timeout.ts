/** What decides how long an attempt may take. Durations in milliseconds. */
export interface AttemptTimeoutInput {
  /** The whole call's timeout, all attempts and pauses included. */
  readonly timeoutMs: number;
  /** What is left of it. */
  readonly remainingMs: number;
  /** The configured timeout of an attempt; undefined for the default. */
  readonly perTryTimeoutMs: number | undefined;
  /** The most attempts a call may have. */
  readonly maxAttempts: number;
  /**
   * Attempts that are possible from here on, this one included. 1 where a timeout of this one could not be followed by
   * another, because it is the last or because the request may not be sent twice.
   */
  readonly attemptsLeft: number;
}

/**
 * How long the next attempt may take: `perTryTimeoutMs`, else the call's timeout divided by its attempts; never more
 * than what remains.
 *
 * Envoy has no such default, so one pod that swallows packets eats the whole deadline and no retry can help. Dividing
 * keeps time for the others. What earlier attempts did not use is shared among those left, and an attempt that nothing
 * can follow has all that remains: cutting it short would only make its failure certain.
 *
 * @returns milliseconds, 0 or more
 */
export function attemptTimeoutMs(input: AttemptTimeoutInput): number {
  const remainingMs = Math.max(0, input.remainingMs);
  if (input.perTryTimeoutMs !== undefined) return Math.min(input.perTryTimeoutMs, remainingMs);
  if (input.attemptsLeft <= 1) return remainingMs;
  const shareMs = Math.max(input.timeoutMs / input.maxAttempts, remainingMs / input.attemptsLeft);
  return Math.min(shareMs, remainingMs);
}
