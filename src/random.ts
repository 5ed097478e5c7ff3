/** The only file that draws chance; everything else takes a {@link Random}. */

/** A source of uniform numbers in [0, 1). */
export type Random = () => number;

/** The process's own generator. Not for secrets. */
export const systemRandom: Random = () => Math.random();

/**
 * A reproducible generator (mulberry32) for tests and the simulator.
 *
 * @param seed any 32-bit integer; equal seeds give equal sequences
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
