import * as v from "valibot";
import { OnehopError } from "./errors.js";
import type { CallOptions, MeshOptions } from "./options.js";
import { bag, check, type Schema, shown, strict } from "./validation.js";

/** A schema whose output keeps absent keys absent, which `exactOptionalPropertyTypes` tells apart from undefined. */
type Exact<T> = Schema<T>;

function number(what: string, accepts: (value: number) => boolean): v.GenericSchema<number> {
  return v.custom<number>(
    (value) => typeof value === "number" && accepts(value),
    (issue) => `expected ${what}, got ${shown(issue.input)}`,
  );
}

function oneOf<const T extends readonly string[]>(...values: T): v.GenericSchema<T[number]> {
  return v.picklist(
    values,
    (issue) => `expected one of ${values.map((value) => `"${value}"`).join(", ")}, got ${shown(issue.input)}`,
  );
}

const duration = number("milliseconds above 0", (value) => Number.isFinite(value) && value > 0);
const durationOrZero = number("milliseconds, 0 or more", (value) => Number.isFinite(value) && value >= 0);
const ratio = number("a share from 0 to 1", (value) => value >= 0 && value <= 1);
const count = number("a whole number of 1 or more", (value) => Number.isSafeInteger(value) && value >= 1);
const countOrZero = number("a whole number of 0 or more", (value) => Number.isSafeInteger(value) && value >= 0);
const rate = number("a rate per second, 0 or more", (value) => Number.isFinite(value) && value >= 0);
const status = number(
  "an HTTP status from 400 to 599",
  (value) => Number.isInteger(value) && value >= 400 && value < 600,
);
const text = v.pipe(
  v.string((issue) => `expected a string, got ${shown(issue.input)}`),
  v.nonEmpty("expected a string that is not empty"),
);
const list = <T>(item: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, readonly T[]> =>
  v.array(item, (issue) => `expected a list, got ${shown(issue.input)}`);
const record = <T>(value: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, Record<string, T>> =>
  v.pipe(bag(), v.record(v.string(), value));
const calls = (method: string, what: string): v.GenericSchema<unknown, unknown> =>
  v.custom<unknown>(
    (value) =>
      typeof value === "object" && value !== null && typeof (value as Record<string, unknown>)[method] === "function",
    (issue) => `expected ${what}, got ${shown(issue.input)}`,
  );

const retry = strict({
  maxAttempts: v.exactOptional(count),
  statuses: v.exactOptional(list(status)),
  backoff: v.exactOptional(strict({ baseMs: v.exactOptional(duration), capMs: v.exactOptional(duration) })),
  budget: v.exactOptional(
    strict({ ratio: v.exactOptional(ratio), minPerSecond: v.exactOptional(rate), ttlMs: v.exactOptional(duration) }),
  ),
  concurrency: v.exactOptional(strict({ ratio: v.exactOptional(ratio), minimum: v.exactOptional(count) })),
  spread: v.exactOptional(oneOf("same-then-other", "never-cross")),
  replayLimitBytes: v.exactOptional(countOrZero),
});

const order = v.custom<unknown>(
  (value) =>
    value === "any" ||
    (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string" && item !== "")),
  (issue) => `expected "any" or a list of cluster names ("local", "*" and names), got ${shown(issue.input)}`,
);

const expectIdentity = strict({
  numbers: v.exactOptional(list(countOrZero)),
  labels: v.exactOptional(list(text)),
  unknown: v.exactOptional(oneOf("allow", "refuse")),
  strict: v.exactOptional(v.boolean((issue) => `expected true or false, got ${shown(issue.input)}`)),
});

const service = strict({
  timeoutMs: v.exactOptional(duration),
  perTryTimeoutMs: v.exactOptional(duration),
  connectTimeoutMs: v.exactOptional(duration),
  bodyIdleTimeoutMs: v.exactOptional(durationOrZero),
  retry: v.exactOptional(retry),
  locality: v.exactOptional(strict({ order: v.exactOptional(order) })),
  expectIdentity: v.exactOptional(expectIdentity),
  dial: v.exactOptional(oneOf("auto", "service")),
  drainTimeoutMs: v.exactOptional(durationOrZero),
  emptyGraceMs: v.exactOptional(durationOrZero),
  tls: v.exactOptional(bag()),
});

const mesh = strict({
  services: v.exactOptional(record(service)),
  defaults: v.exactOptional(service),
  discovery: v.exactOptional(calls("watch", "a discovery such as bpfDiscovery() makes")),
  cluster: v.exactOptional(text),
  clusterDomain: v.exactOptional(text),
  addresses: v.exactOptional(record(list(text))),
  dns: v.exactOptional(
    strict({
      nameservers: v.exactOptional(list(text)),
      search: v.exactOptional(list(text)),
      resolvConfPath: v.exactOptional(text),
      hostsPath: v.exactOptional(text),
    }),
  ),
  idleServiceMs: v.exactOptional(duration),
  observer: v.exactOptional(calls("attemptStarted", "an attempt observer")),
  clock: v.exactOptional(calls("now", "a clock")),
  random: v.exactOptional(v.function((issue) => `expected a function, got ${shown(issue.input)}`)),
});

const call = strict({
  timeoutMs: v.exactOptional(duration),
  perTryTimeoutMs: v.exactOptional(duration),
  idempotent: v.exactOptional(v.boolean((issue) => `expected true or false, got ${shown(issue.input)}`)),
  retry: v.exactOptional(strict({ maxAttempts: v.exactOptional(count) })),
});

/**
 * @throws OnehopError `ERR_ONEHOP_CONFIG` with one line for each wrong option: its path, its value, the nearest known key
 */
export function checkMeshOptions(options: unknown): MeshOptions {
  return settled(check(mesh as unknown as Exact<MeshOptions>, options, "options"), "createMesh");
}

/**
 * @throws OnehopError `ERR_ONEHOP_CONFIG` as {@link checkMeshOptions}
 */
export function checkCallOptions(options: unknown): CallOptions {
  return settled(check(call as unknown as Exact<CallOptions>, options, "onehop"), "a call");
}

function settled<T>(checked: ReturnType<typeof check<T>>, where: string): T {
  if ("value" in checked) return checked.value;
  throw new OnehopError("ERR_ONEHOP_CONFIG", `wrong options of ${where}:\n  ${checked.problems.join("\n  ")}`);
}
