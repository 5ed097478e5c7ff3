import type { OnehopError } from "../errors.js";
import type { MapInfo, MapShape } from "./kernel.js";
import { kernelError } from "./kernel-error.js";

/** The longest name the kernel keeps (BPF_OBJ_NAME_LEN without its NUL). */
const NAME_LENGTH = 15;

/** The name as the kernel accepts it: letters, digits, `_` and `.`, 15 at most; the rest is dropped. */
export function kernelMapName(name: string): string {
  return name.replace(/[^A-Za-z0-9_.]/g, "").slice(0, NAME_LENGTH);
}

/**
 * What differs between a map and the shape its reader expects.
 *
 * @returns an error of reason `layout`, or undefined when the map fits
 */
export function shapeMismatch(path: string, info: MapInfo, shape: MapShape): OnehopError | undefined {
  const fits = info.type === shape.type && info.keySize === shape.keySize && shape.valueSizes.includes(info.valueSize);
  if (fits) return undefined;
  const expected = `${shape.type} with ${shape.keySize}-byte keys and ${shape.valueSizes.join("- or ")}-byte values`;
  const found = `${info.type} with ${info.keySize}-byte keys and ${info.valueSize}-byte values`;
  return kernelError(
    "layout",
    `the map pinned at ${path} has an unknown layout: expected ${expected}, found ${found} (map ${info.id} "${info.name}"); ` +
      "its writer is a version this release does not know, or the path names another map",
  );
}

/**
 * Checks the length of a key or value before the kernel sees it, which would read or write past a shorter one.
 *
 * @throws RangeError
 */
export function requireSize(what: "key" | "value", buffer: Uint8Array, size: number): void {
  if (buffer.byteLength !== size) {
    throw new RangeError(`the ${what} must have exactly ${size} bytes, this one has ${buffer.byteLength}`);
  }
}

/**
 * The one value size of a map that is to be made.
 *
 * @throws RangeError when the shape allows none or several
 */
export function onlyValueSize(shape: MapShape): number {
  const [size, ...more] = shape.valueSizes;
  if (size === undefined || more.length > 0) {
    throw new RangeError(`a map is made with exactly one value size, the shape has ${shape.valueSizes.length}`);
  }
  return size;
}
