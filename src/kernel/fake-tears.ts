/**
 * The ways a look-up in a live map can be wrong, as hooks for a {@link FakeKernel}. The kernel matches a key and
 * copies the value without a lock; when the element is deleted or replaced and its memory used again in between, the
 * copy is another key's value or a mix of two writes. About one read in a million does so under a storm of writes; a
 * test asks for a far greater share.
 */
import type { Random } from "../random.js";
import type { BeforeLookupHook, LookupHook } from "./fake-kernel.js";

/** How often an injector strikes. */
export interface TearOptions {
  /** Share of the look-ups that can be torn, 0..1; 1 tears every one. */
  readonly ratio: number;
  readonly random: Random;
  /** Tears only look-ups in the map pinned here; all maps when absent. */
  readonly path?: string;
}

function strikes(options: TearOptions, path: string): boolean {
  return (options.path === undefined || options.path === path) && options.random() < options.ratio;
}

function oneOf<Item>(items: readonly Item[], random: Random): Item | undefined {
  return items[Math.floor(random() * items.length)];
}

/** Answers with the value of another key of the same map, if it has one. */
export function crossKeyReads(options: TearOptions): LookupHook {
  return ({ path, value, others }) => {
    if (value === undefined || !strikes(options, path)) return undefined;
    return oneOf(others(), options.random);
  };
}

/**
 * Answers with bytes of two writes: the start of the present value and the end of the one before it, or of another
 * key's where the element was written once only. The seam lies on any byte.
 */
export function mixedReads(options: TearOptions): LookupHook {
  return ({ path, value, previous, others }) => {
    if (value === undefined || value.byteLength < 2 || !strikes(options, path)) return undefined;
    const stale = previous ?? oneOf(others(), options.random);
    if (stale === undefined) return undefined;
    const seam = 1 + Math.floor(options.random() * (value.byteLength - 1));
    const mixed = value.slice();
    mixed.set(stale.subarray(seam), seam);
    return mixed;
  };
}

/** Answers that a present key is absent, as between a delete and the insert that follows it. */
export function vanishingReads(options: TearOptions): LookupHook {
  return ({ path, value }) => (value !== undefined && strikes(options, path) ? "absent" : undefined);
}

/**
 * Lets a writer act in the middle of a reader's pass.
 *
 * @param number the look-up before which `step` runs, counted from 1 from the moment the hook is made
 * @param path counts only look-ups in the map pinned here; all when absent
 */
export function stepBefore(number: number, step: () => void, path?: string): BeforeLookupHook {
  let seen = 0;
  return (lookupPath) => {
    if (path !== undefined && path !== lookupPath) return;
    seen += 1;
    if (seen === number) step();
  };
}
