import type { Clock } from "../clock.js";
import { isOnehopError, OnehopError } from "../errors.js";
import { formatIpAddress, parseIpAddress } from "../model/ip-address.js";
import { normalHost } from "../model/service-ref.js";
import type { Resolver } from "./resolver.js";

/** Addresses of a name and how long they may be kept, in milliseconds. */
export interface CachedAddresses {
  readonly addresses: readonly string[];
  readonly ttlMs: number;
  /** The full name that was found; the host itself where its addresses were given. */
  readonly name: string;
}

/** The addresses of names, remembered as long as their records allow. */
export interface AddressCache {
  /**
   * @throws OnehopError `ERR_ONEHOP_NAME` when the name cannot be resolved and no earlier answer may stand in
   */
  addresses(host: string): Promise<CachedAddresses>;
}

/** More names than an app has; the one not asked for longest goes first. */
const MOST_NAMES = 10_000;
/** How long a failure is remembered, so that a burst of calls asks once. */
const ERROR_TTL_MS = 1_000;
/** How long an expired answer is held back for a refresh to finish: the client response timer of RFC 8767 §5. */
const REFRESH_PATIENCE_MS = 1_800;
/** How long after its end an answer may stand in for one that cannot be had: the low end of RFC 8767 §5. */
const LONGEST_STALE_MS = 86_400_000;
/** Fixed addresses do not change while the process runs. */
const FIXED_TTL_MS = 3_600_000;

/** What is known of a name. */
interface Entry {
  answer: { readonly addresses: readonly string[]; readonly expiresMs: number; readonly name: string } | undefined;
  failure: { readonly error: unknown; readonly untilMs: number } | undefined;
  /** The question in flight. */
  asking: Promise<CachedAddresses> | undefined;
}

/**
 * Makes a cache in front of a resolver. A name is asked for once at a time. When its answer has expired it is asked for
 * again; as long as that does not succeed, the old answer stands in (RFC 8767), unless the nameservers say that the name
 * is no more.
 *
 * Questions do not keep the process alive: who awaits a call is kept alive by the call's own deadline, and the views of
 * services ask in the background.
 *
 * @param fixed addresses by host; they win over everything
 * @throws OnehopError `ERR_ONEHOP_CONFIG` when `fixed` holds anything but IP addresses
 */
export function createAddressCache(
  resolver: Resolver,
  clock: Clock,
  fixed: Readonly<Record<string, readonly string[]>> = {},
): AddressCache {
  const fixedAddresses = readFixed(fixed);
  const entries = new Map<string, Entry>();

  /** The entry of a name, as the one used last. */
  function entryOf(key: string): Entry {
    const entry = entries.get(key) ?? { answer: undefined, failure: undefined, asking: undefined };
    entries.delete(key);
    entries.set(key, entry);
    if (entries.size > MOST_NAMES) {
      const [oldest] = entries.keys();
      if (oldest !== undefined) entries.delete(oldest);
    }
    return entry;
  }

  async function ask(key: string, entry: Entry): Promise<CachedAddresses> {
    try {
      const { addresses, ttlMs, name } = await resolver.resolve(key, { isBackground: true });
      entry.answer = { addresses, expiresMs: clock.now() + ttlMs, name };
      entry.failure = undefined;
      return { addresses, ttlMs, name };
    } catch (error) {
      if (isOnehopError(error) && error.reason === "not-found") entry.answer = undefined;
      entry.failure = { error, untilMs: clock.now() + ERROR_TTL_MS };
      throw error;
    } finally {
      entry.asking = undefined;
    }
  }

  /** The expired answer, when it may still stand in. */
  function staleAnswer(entry: Entry): CachedAddresses | undefined {
    const { answer } = entry;
    if (answer === undefined || clock.now() - answer.expiresMs > LONGEST_STALE_MS) return undefined;
    return { addresses: answer.addresses, ttlMs: ERROR_TTL_MS, name: answer.name };
  }

  return {
    async addresses(host) {
      const given = fixedAddresses.get(normalHost(host));
      if (given !== undefined) return { addresses: given, ttlMs: FIXED_TTL_MS, name: normalHost(host) };

      const key = host.toLowerCase();
      const entry = entryOf(key);
      const now = clock.now();
      if (entry.answer !== undefined && entry.answer.expiresMs > now) {
        const { addresses, expiresMs, name } = entry.answer;
        return { addresses, ttlMs: expiresMs - now, name };
      }
      const stale = staleAnswer(entry);
      const { failure } = entry;
      if (failure !== undefined && failure.untilMs > now) {
        if (stale !== undefined) return stale;
        throw failure.error;
      }
      entry.asking ??= ask(key, entry);
      if (stale === undefined) return entry.asking;
      if (failure === undefined) return orStandIn(entry, entry.asking, stale, clock);
      // The last refresh failed as well: nobody waits for this one, and its failure is kept in the entry.
      entry.asking.catch(() => undefined);
      return stale;
    },
  };
}

/** The outcome of a refresh; the old answer when it fails or takes long. A name that is no more has no old answer. */
function orStandIn(
  entry: Entry,
  asking: Promise<CachedAddresses>,
  standIn: CachedAddresses,
  clock: Clock,
): Promise<CachedAddresses> {
  return new Promise((resolve, reject) => {
    const timer = clock.setBackgroundTimer(REFRESH_PATIENCE_MS, () => resolve(standIn));
    asking.then(
      (fresh) => {
        timer.cancel();
        resolve(fresh);
      },
      (error: unknown) => {
        timer.cancel();
        if (entry.answer === undefined) reject(error);
        else resolve(standIn);
      },
    );
  });
}

function readFixed(fixed: Readonly<Record<string, readonly string[]>>): ReadonlyMap<string, readonly string[]> {
  const known = new Map<string, readonly string[]>();
  for (const [host, addresses] of Object.entries(fixed)) {
    if (addresses.length === 0) throw badFixed(`addresses[${JSON.stringify(host)}] is empty`, "leave the name out");
    const canonical = addresses.map((address, index) => {
      const bytes = parseIpAddress(address);
      if (bytes !== undefined) return formatIpAddress(bytes);
      throw badFixed(
        `addresses[${JSON.stringify(host)}][${index}]: ${JSON.stringify(address)} is no IP address`,
        "give an address such as 10.96.7.7 or fd00::7",
      );
    });
    known.set(normalHost(host), canonical);
  }
  return known;
}

function badFixed(what: string, fix: string): OnehopError {
  return new OnehopError("ERR_ONEHOP_CONFIG", `${what}; ${fix}`);
}
