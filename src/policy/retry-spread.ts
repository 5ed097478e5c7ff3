/** What is known when the tier of a further attempt is chosen. */
export interface SpreadInput {
  /** Ordinal of the attempt about to be made, from 2. */
  readonly attempt: number;
  /** How the attempt before failed: no answer in time, no connection, or anything else. */
  readonly lastFailure: "timeout" | "connect" | "other";
  /** Endpoints of the tier in use that may be called. */
  readonly tierSize: number;
  /** Those of them that this call has not tried. */
  readonly untriedInTier: number;
}

/** From this attempt on a call always looks elsewhere. */
const FIRST_ATTEMPT_ELSEWHERE = 3;

/**
 * Whether the next attempt prefers another tier (cluster) over the one in use.
 *
 * The first retry stays: one bad pod is the likely cause, and near is cheaper. It goes elsewhere where the cause is
 * likely shared by the tier, that is after a timeout or without a connection, and where the tier has no other endpoint
 * to offer. The second retry always goes elsewhere. Envoy stays in the priority unless told otherwise; its composite
 * cluster ("attempt N goes to cluster N") is the nearest relative. A preference only: where no other tier can serve,
 * the caller stays in this one.
 */
export function crossesTier(input: SpreadInput): boolean {
  if (input.attempt < 2) return false;
  if (input.attempt >= FIRST_ATTEMPT_ELSEWHERE) return true;
  return input.lastFailure !== "other" || input.untriedInTier === 0 || input.tierSize < 2;
}
