import * as v from "valibot";
import type { Discovery } from "./discovery/discovery.js";
import { isDnsName } from "./dns/dns-name.js";
import { canonicalServerAddress, nameServerPort, parseNameServer } from "./dns/name-server.js";
import { ipFamily } from "./model/ip-address.js";
import { normalHost } from "./model/service-ref.js";
import type { CallOptions, MeshOptions } from "./options.js";
import { bag, checkOptions, duration, holder, number, type Schema, shown, strict, text } from "./validation.js";

/** A schema whose output keeps absent keys absent, which `exactOptionalPropertyTypes` tells apart from undefined. */
type Exact<T> = Schema<T>;

function oneOf<const T extends readonly string[]>(...values: T): v.GenericSchema<T[number]> {
  return v.picklist(
    values,
    (issue) => `expected one of ${values.map((value) => `"${value}"`).join(", ")}, got ${shown(issue.input)}`,
  );
}

const durationOrZero = number("milliseconds, 0 or more", (value) => Number.isFinite(value) && value >= 0);
const ratio = number("a share from 0 to 1", (value) => value >= 0 && value <= 1);
const count = number("a whole number of 1 or more", (value) => Number.isSafeInteger(value) && value >= 1);
const countOrZero = number("a whole number of 0 or more", (value) => Number.isSafeInteger(value) && value >= 0);
const rate = number("a rate per second, 0 or more", (value) => Number.isFinite(value) && value >= 0);
const status = number(
  "an HTTP status from 400 to 599",
  (value) => Number.isInteger(value) && value >= 400 && value < 600,
);
const words = v.pipe(
  v.string((issue) => `expected a string, got ${shown(issue.input)}`),
  v.nonEmpty("expected a string that is not empty"),
);
const address = text("an IP address such as 10.96.7.7 or fd00::7", (value) => ipFamily(value) !== undefined);
const domain = text("a domain name such as cluster.local", (value) => isDnsName(normalHost(value)));
const searchDomain = text(
  "a domain name such as svc.cluster.local",
  (value) => value === "." || isDnsName(normalHost(value)),
);
const nameServer = text(
  'an IP address, with a port from 1 to 65535 where it is not 53, such as "10.96.0.10" or "[fd00::a]:5353"',
  (value) => {
    const server = parseNameServer(value);
    const port = nameServerPort(server);
    return canonicalServerAddress(server.address) !== undefined && port >= 1 && port <= 65_535;
  },
);
const list = <T>(item: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, readonly T[]> =>
  v.array(item, (issue) => `expected a list, got ${shown(issue.input)}`);
const record = <T>(value: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, Record<string, T>> =>
  v.pipe(bag(), v.record(v.string(), value));

/** What each part of a discovery is; the rest of a mesh calls them without looking. */
const DISCOVERY_PARTS: Readonly<Record<keyof Discovery, "string" | "function">> = {
  name: "string",
  attach: "function",
  watch: "function",
  knows: "function",
  localCluster: "function",
  close: "function",
};

function missingParts(value: object): readonly string[] {
  return Object.entries(DISCOVERY_PARTS)
    .filter(([part, type]) => typeof (value as Record<string, unknown>)[part] !== type)
    .map(([part]) => part);
}

const discovery = v.custom<unknown>(
  (value) => typeof value === "object" && value !== null && missingParts(value).length === 0,
  ({ input }) => {
    const isObject = typeof input === "object" && input !== null && !Array.isArray(input);
    const got = isObject ? `one without ${missingParts(input).join(", ")}` : shown(input);
    return `expected a discovery such as bpfDiscovery() makes, got ${got}`;
  },
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
  labels: v.exactOptional(list(words)),
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
  discovery: v.exactOptional(discovery),
  cluster: v.exactOptional(words),
  clusterDomain: v.exactOptional(domain),
  addresses: v.exactOptional(record(v.pipe(list(address), v.minLength(1, "expected at least one address, got []")))),
  dns: v.exactOptional(
    strict({
      nameservers: v.exactOptional(list(nameServer)),
      search: v.exactOptional(list(searchDomain)),
      resolvConfPath: v.exactOptional(words),
      hostsPath: v.exactOptional(words),
    }),
  ),
  idleServiceMs: v.exactOptional(duration),
  observer: v.exactOptional(holder("attemptStarted", "an attempt observer")),
  clock: v.exactOptional(holder("now", "a clock")),
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
  return checkOptions(mesh as unknown as Exact<MeshOptions>, options, "options", "createMesh");
}

/**
 * @throws OnehopError `ERR_ONEHOP_CONFIG` as {@link checkMeshOptions}
 */
export function checkCallOptions(options: unknown): CallOptions {
  return checkOptions(call as unknown as Exact<CallOptions>, options, "onehop", "a call");
}
