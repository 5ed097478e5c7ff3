/** Checks data from outside against a schema and says plainly what is wrong with it: the path, the value, the fix. */

import leven from "leven";
import * as v from "valibot";
import { OnehopError } from "./errors.js";

/** A schema of this package: takes anything, gives `T`. */
export type Schema<T> = v.GenericSchema<unknown, T>;

/**
 * An object with no other keys than `entries`; an unknown key is answered with the nearest known one, a missing one with
 * what is expected there.
 */
export function strict<const E extends v.ObjectEntries>(
  entries: E,
): Schema<v.InferOutput<v.StrictObjectSchema<E, undefined>>> {
  const known = Object.keys(entries);
  const object = v.strictObject(entries, (issue) => {
    const key = String(issue.path?.at(-1)?.key);
    const entry = Object.hasOwn(entries, key) ? entries[key] : undefined;
    if (entry !== undefined) return v.safeParse(entry as v.GenericSchema, undefined).issues?.[0].message ?? "missing";
    const near = nearest(key, known);
    return `unknown key${near === undefined ? "" : `; did you mean "${near}"?`} (known: ${known.join(", ")})`;
  });
  return v.pipe(bag(), object);
}

/** An object with any keys; lists and functions are none. */
export function bag(): Schema<Record<string, unknown>> {
  return v.custom<Record<string, unknown>>(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    (issue) => `expected an object, got ${shown(issue.input)}`,
  );
}

/** A number that `accepts`; `what` says which ones those are. */
export function number(what: string, accepts: (value: number) => boolean): v.GenericSchema<number> {
  return v.custom<number>(
    (value) => typeof value === "number" && accepts(value),
    (issue) => `expected ${what}, got ${shown(issue.input)}`,
  );
}

export const duration: v.GenericSchema<number> = number(
  "milliseconds above 0",
  (value) => Number.isFinite(value) && value > 0,
);

/** A string that `accepts`; `what` says which ones those are. */
export function text(what: string, accepts: (value: string) => boolean): v.GenericSchema<string> {
  return v.custom<string>(
    (value) => typeof value === "string" && accepts(value),
    (issue) => `expected ${what}, got ${shown(issue.input)}`,
  );
}

/** An object that has this method, and is taken as it is. */
export function holder(method: string, what: string): v.GenericSchema<unknown, unknown> {
  return v.custom<unknown>(
    (value) =>
      typeof value === "object" && value !== null && typeof (value as Record<string, unknown>)[method] === "function",
    (issue) => `expected ${what}, got ${shown(issue.input)}`,
  );
}

/** The value as the schema gives it, or one line for each thing that is wrong with it. */
export type Checked<T> = { readonly value: T } | { readonly problems: readonly string[] };

/**
 * @param name what the value is called, the start of each path
 */
export function check<T>(schema: Schema<T>, value: unknown, name: string): Checked<T> {
  const result = v.safeParse(schema, value);
  if (result.success) return { value: result.output };
  return { problems: result.issues.flatMap(leaves).map((issue) => `${name}${pathOf(issue)}: ${issue.message}`) };
}

/**
 * The options as the schema gives them.
 *
 * @param name as for {@link check}
 * @param where whose options they are
 * @throws OnehopError `ERR_ONEHOP_CONFIG` with one line for each thing that is wrong
 */
export function checkOptions<T>(schema: Schema<T>, options: unknown, name: string, where: string): T {
  const checked = check(schema, options, name);
  if ("value" in checked) return checked.value;
  throw new OnehopError("ERR_ONEHOP_CONFIG", `wrong options of ${where}:\n  ${checked.problems.join("\n  ")}`);
}

/** The value for a message: short, on one line. */
export function shown(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint" || typeof value === "symbol") return String(value);
  const text = asJson(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Circles, bigints within, and a `toJSON` that throws cannot be written down. */
function asJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "an object";
  }
}

/** The known word that `word` most likely was meant to be; undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, distance: leven(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  if (best === undefined) return undefined;
  return best.distance <= Math.max(2, Math.ceil(word.length / 3)) ? best.candidate : undefined;
}

/** The issues of a union's best branch instead of "none matched". */
function leaves(issue: v.BaseIssue<unknown>): readonly v.BaseIssue<unknown>[] {
  if (issue.type !== "union" || issue.issues === undefined) return [issue];
  const deep = issue.issues.flatMap(leaves).filter((leaf) => (leaf.path?.length ?? 0) > (issue.path?.length ?? 0));
  return deep.length > 0 ? deep.slice(0, 1) : [issue];
}

function pathOf(issue: v.BaseIssue<unknown>): string {
  return (issue.path ?? [])
    .map(({ key }) => {
      if (typeof key === "number") return `[${key}]`;
      return /^[A-Za-z_$][\w$]*$/.test(String(key)) ? `.${String(key)}` : `[${JSON.stringify(String(key))}]`;
    })
    .join("");
}
