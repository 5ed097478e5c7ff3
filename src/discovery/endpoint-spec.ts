import { closestMatch } from "leven";
import * as v from "valibot";
import { OnehopError, type OnehopErrorCode } from "../errors.js";
import type { BackendState } from "../model/endpoint.js";
import { formatIpAddress, parseIpAddress } from "../model/ip-address.js";

/** One pod of a service as people write it. */
export interface EndpointSpec {
  /** IP address, IPv4 or IPv6. */
  readonly address: string;
  /** Default: the port the service is called on. */
  readonly port?: number | undefined;
  /** Name of the pod's cluster. */
  readonly cluster?: string | undefined;
  readonly zone?: string | undefined;
  /** Address or name of the node that hosts the pod. */
  readonly node?: string | undefined;
  /** Cilium security identity; with labels as `source:key=value`. */
  readonly identity?: number | { readonly number: number; readonly labels?: readonly string[] | undefined } | undefined;
  /** Default `active`. */
  readonly state?: BackendState | undefined;
}

/** Who is told about a wrong value, and how. */
export interface SpecOrigin {
  readonly code: OnehopErrorCode;
  /** Starts the message: the path of a file, the name of a function. */
  readonly label: string;
}

const TEXT = v.pipe(v.string("a text that is not empty"), v.minLength(1, "a text that is not empty"));
const ADDRESS_WANTED = "an IP address such as 10.1.2.3 or fd00::7";
const ADDRESS = v.pipe(
  v.string(ADDRESS_WANTED),
  v.check((text) => parseIpAddress(text) !== undefined, ADDRESS_WANTED),
  v.transform(canonicalAddress),
);

function wholeNumber(least: number, most: number) {
  const wanted = `a whole number from ${least} to ${most}`;
  return v.pipe(v.number(wanted), v.integer(wanted), v.minValue(least, wanted), v.maxValue(most, wanted));
}

const PORT = wholeNumber(1, 65_535);
const IDENTITY_NUMBER = wholeNumber(1, 0xffff_ffff);
const STATES: readonly BackendState[] = ["active", "terminating", "quarantined", "maintenance"];

const ENDPOINT_KEYS = {
  address: ADDRESS,
  port: v.optional(PORT),
  cluster: v.optional(TEXT),
  zone: v.optional(TEXT),
  node: v.optional(TEXT),
  identity: v.optional(v.unknown()),
  state: v.optional(v.picklist(STATES, `one of ${STATES.join(", ")}`)),
};
const IDENTITY_KEYS = {
  number: IDENTITY_NUMBER,
  labels: v.optional(v.array(TEXT, "a list of labels such as k8s:app=quotes")),
};

/** An endpoint as written, checked: the address is canonical, the identity has its long form. */
export interface CheckedEndpoint extends EndpointSpec {
  readonly identity?: { readonly number: number; readonly labels?: readonly string[] | undefined } | undefined;
}

/**
 * Checks one entry of a service: an {@link EndpointSpec}, or the short form `10.1.2.3:8080`, `[fd00::7]:8080` or a bare
 * address.
 *
 * @param at where the entry stands, such as `services["quotes.energy"][2]`
 * @throws OnehopError with the origin's code, naming the place, the value and what was expected
 */
export function checkEndpoint(value: unknown, at: string, origin: SpecOrigin): CheckedEndpoint {
  if (typeof value === "string") return checkShortForm(value, at, origin);
  const { identity, ...endpoint } = checkKeys(
    value,
    ENDPOINT_KEYS,
    "an object or a text such as 10.1.2.3:8080",
    at,
    origin,
  );
  return identity === undefined
    ? endpoint
    : { ...endpoint, identity: checkIdentity(identity, `${at}.identity`, origin) };
}

function checkIdentity(value: unknown, at: string, origin: SpecOrigin): CheckedEndpoint["identity"] {
  if (v.is(IDENTITY_NUMBER, value)) return { number: value };
  const wanted = "an identity: a whole number from 1 to 4294967295, or an object with the keys number and labels";
  return checkKeys(value, IDENTITY_KEYS, wanted, at, origin);
}

function checkShortForm(text: string, at: string, origin: SpecOrigin): CheckedEndpoint {
  if (parseIpAddress(text) !== undefined) return { address: canonicalAddress(text) };
  const [, ipv6, ipv4, digits = ""] = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const address = ipv6 ?? ipv4 ?? "";
  const bytes = parseIpAddress(address);
  const isFamilyRight = bytes?.length === (ipv6 === undefined ? 4 : 16);
  if (!isFamilyRight || !v.is(PORT, Number(digits))) {
    throw wrongValue(
      at,
      text,
      "an address with a port from 1 to 65535, such as 10.1.2.3:8080 or [fd00::7]:8080",
      origin,
    );
  }
  return { address: canonicalAddress(address), port: Number(digits) };
}

/** Canonical text of an address that has been checked. */
function canonicalAddress(text: string): string {
  const bytes = parseIpAddress(text);
  return bytes === undefined ? text : formatIpAddress(bytes);
}

/**
 * Checks an object key by key; the messages of the schemas say what is expected.
 *
 * @param wanted what the value itself must be
 * @param at where the value stands; empty for the whole input
 */
export function checkKeys<const T extends v.ObjectEntries>(
  value: unknown,
  keys: T,
  wanted: string,
  at: string,
  origin: SpecOrigin,
): v.InferOutput<v.ObjectSchema<T, undefined>> {
  if (!isRecord(value)) throw wrongValue(at === "" ? "the whole" : at, value, wanted, origin);
  const unknownKey = Object.keys(value).find((key) => !Object.hasOwn(keys, key));
  if (unknownKey !== undefined) throw unknownKeyError(place(at, unknownKey), unknownKey, Object.keys(keys), origin);
  const checked = v.safeParse(v.object(keys), value);
  if (checked.success) return checked.output;
  const [issue] = checked.issues;
  const path = (issue.path ?? []).map((step) => step.key as string | number);
  const where = path.reduce<string>(place, at);
  const found = path.reduce<unknown>((inner, key) => (inner as Record<string | number, unknown>)[key], value);
  if (found === undefined) throw malformed(`${where} is missing; add it`, origin);
  throw wrongValue(where, found, issue.message, origin);
}

/** Whether `value` is an object with keys, as JSON and literals have them. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A key or an index below a place: `services["quotes.energy"]`, `[2]`, `.port`. */
export function place(at: string, key: string | number): string {
  if (typeof key === "number") return `${at}[${key}]`;
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key)) return `${at}[${JSON.stringify(key.slice(0, 300))}]`;
  return at === "" ? key : `${at}.${key}`;
}

export function wrongValue(at: string, value: unknown, wanted: string, origin: SpecOrigin): OnehopError {
  return malformed(`${at} is ${show(value)}, but must be ${wanted}; correct it`, origin);
}

export function malformed(text: string, origin: SpecOrigin): OnehopError {
  return new OnehopError(origin.code, `${origin.label}: ${text}`);
}

function unknownKeyError(at: string, key: string, known: readonly string[], origin: SpecOrigin): OnehopError {
  const nearest = closestMatch(key, known, { maxDistance: 3 });
  const hint = nearest === undefined ? `the known ones are ${known.join(", ")}` : `did you mean ${nearest}?`;
  return malformed(`${at} is not a known key; ${hint}`, origin);
}

const LONGEST_SHOWN = 100;

/** A value for people, short whatever it is. */
function show(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value === "string") return JSON.stringify(value.slice(0, LONGEST_SHOWN));
  return String(value).slice(0, LONGEST_SHOWN);
}
