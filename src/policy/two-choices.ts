import type { Random } from "../random.js";

/**
 * Draws two different candidates at random and takes the cheaper one; the first drawn where both cost the same.
 *
 * Nearly as even as comparing all candidates, at the price of comparing two, and without the herd: clients that see the
 * same costs do not all run to the same cheapest endpoint (Mitzenmacher, "The Power of Two Choices in Randomized Load
 * Balancing"). Drawing with replacement would compare a candidate with itself in one of n picks.
 *
 * @param cost never NaN
 * @returns undefined for no candidates; the only one without asking its cost
 */
export function twoChoices<T>(candidates: readonly T[], cost: (candidate: T) => number, random: Random): T | undefined {
  const count = candidates.length;
  if (count < 2) return candidates[0];
  const firstIndex = Math.floor(random() * count);
  // One index fewer to draw from; those from the first one on move up by one, over the hole it left.
  const drawn = Math.floor(random() * (count - 1));
  const secondIndex = drawn < firstIndex ? drawn : drawn + 1;
  const first = candidates[firstIndex] as T;
  const second = candidates[secondIndex] as T;
  return cost(second) < cost(first) ? second : first;
}
