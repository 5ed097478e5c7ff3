import type { Clock } from "../clock.js";
import { OnehopError } from "../errors.js";
import { formatIpAddress, parseIpAddress } from "../model/ip-address.js";
import { normalHost } from "../model/service-ref.js";
import { type LookupSettings, lookUpAddresses } from "./address-lookup.js";
import { isDnsName } from "./dns-name.js";
import { parseHostsFile } from "./hosts-file.js";
import { canonicalServerAddress, type NameServer, nameServerLabel } from "./name-server.js";
import { createParsedFile } from "./parsed-file.js";
import { parseResolvConf, type ResolvConf } from "./resolv-conf.js";
import { candidateNames } from "./search-list.js";

/** The addresses of a name. */
export interface ResolvedName {
  /** Canonical, IPv4 first, each once. */
  readonly addresses: readonly string[];
  /** How long they may be kept, in milliseconds: the least of the records used, from 1 s to 1 h. */
  readonly ttlMs: number;
  /** The full name that was found, such as `quotes.energy.svc.cluster.local` for `quotes.energy`. */
  readonly name: string;
}

export interface Resolver {
  /**
   * Resolves a host as the C library of the pod would: an IP address stands for itself, then the hosts file, then the
   * nameservers with the search list. IPv4 and IPv6 are asked for together.
   *
   * @param options `isBackground`: nobody waits for the answer, so the process may end meanwhile; default false
   * @throws OnehopError `ERR_ONEHOP_NAME` whose `reason` is `bad-name`, `not-found` (the nameservers say that there is
   * no such name or address) or `no-answer` (no nameserver gave a usable answer)
   */
  resolve(host: string, options?: { readonly isBackground?: boolean }): Promise<ResolvedName>;
}

/** Every value given here comes before the one of resolv.conf. */
export interface ResolverOptions {
  readonly clock: Clock;
  /** Default `/etc/resolv.conf`. Read again when it changes. */
  readonly resolvConfPath?: string;
  /** Default `/etc/hosts`. Read again when it changes. */
  readonly hostsPath?: string;
  readonly nameservers?: readonly NameServer[];
  /** Domains that complete short names. */
  readonly search?: readonly string[];
  /** How long to wait for one nameserver, in milliseconds. */
  readonly timeoutMs?: number;
  /** How often all nameservers are asked in turn. */
  readonly attempts?: number;
}

/** Below this, a record that is not to be cached (TTL 0) would be asked for at every look. */
const SHORTEST_TTL_MS = 1_000;
/** Above this, a moved service would stay unnoticed too long. */
const LONGEST_TTL_MS = 3_600_000;
/** As often as the hosts file is looked at. */
const HOSTS_TTL_MS = 5_000;

/**
 * Makes a resolver.
 *
 * @throws OnehopError `ERR_ONEHOP_CONFIG` when a nameserver of the options is no IP address or a search domain no name
 */
export function createResolver(options: ResolverOptions): Resolver {
  const { clock } = options;
  const resolvConf = createParsedFile(options.resolvConfPath ?? "/etc/resolv.conf", parseResolvConf, clock);
  const hostsFile = createParsedFile(options.hostsPath ?? "/etc/hosts", parseHostsFile, clock);
  const fixedServers = options.nameservers?.map(checkedServer);
  const fixedSearch = options.search?.map(checkedDomain);

  async function ask(host: string, conf: ResolvConf, isBackground: boolean): Promise<ResolvedName> {
    const settings: LookupSettings = {
      clock,
      servers: fixedServers ?? conf.nameservers.map((address) => ({ address })),
      attempts: options.attempts ?? conf.attempts,
      timeoutMs: options.timeoutMs ?? conf.timeoutMs,
      isBackground,
    };
    const candidates = candidateNames(host, { search: fixedSearch ?? conf.search, ndots: conf.ndots });
    if (candidates.length === 0) throw badName(host);
    const answers: string[] = [];
    for (const name of candidates) {
      const lookup = await lookUpAddresses(name, settings);
      if (lookup.kind === "addresses") {
        const ttlMs = Math.min(Math.max(lookup.ttlMs, SHORTEST_TTL_MS), LONGEST_TTL_MS);
        return { addresses: lookup.addresses, ttlMs, name };
      }
      answers.push(...lookup.answers);
      // Going on would give the name of another domain the meaning of the one that could not be asked for.
      if (lookup.kind === "failed") throw unresolved("no-answer", host, candidates, settings.servers, answers);
    }
    throw unresolved("not-found", host, candidates, settings.servers, answers);
  }

  return {
    async resolve(host, { isBackground = false } = {}) {
      const literal = parseIpAddress(host.replace(/^\[(.*)\]$/, "$1"));
      if (literal !== undefined) {
        const address = formatIpAddress(literal);
        return { addresses: [address], ttlMs: LONGEST_TTL_MS, name: address };
      }
      const [conf, hosts] = await Promise.all([resolvConf.read(), hostsFile.read()]);
      const addresses = hosts.lookup(host);
      if (addresses.length > 0) return { addresses, ttlMs: HOSTS_TTL_MS, name: normalHost(host) };
      return ask(host, conf, isBackground);
    },
  };
}

function checkedServer(server: NameServer): NameServer {
  const address = canonicalServerAddress(server.address);
  if (address !== undefined) return { ...server, address };
  throw new OnehopError(
    "ERR_ONEHOP_CONFIG",
    `nameservers: ${JSON.stringify(server.address)} is no IP address; name the server by its address, such as 10.96.0.10`,
  );
}

function checkedDomain(domain: string): string {
  const name = normalHost(domain);
  if (name === "" || isDnsName(name)) return name;
  throw new OnehopError(
    "ERR_ONEHOP_CONFIG",
    `search: ${JSON.stringify(domain)} is no domain name; give one such as svc.cluster.local`,
  );
}

function badName(host: string): OnehopError {
  return new OnehopError(
    "ERR_ONEHOP_NAME",
    `${JSON.stringify(host.slice(0, 300))} is no host name: names have labels of 1 to 63 letters, digits, hyphens or ` +
      "underscores, 253 characters in all; correct the name",
    { reason: "bad-name" },
  );
}

function unresolved(
  reason: "not-found" | "no-answer",
  host: string,
  candidates: readonly string[],
  servers: readonly NameServer[],
  answers: readonly string[],
): OnehopError {
  const [what, fix] =
    reason === "not-found"
      ? ["does not exist", "check the name and its namespace, or give its addresses in the option `addresses`"]
      : [
          "could not be resolved",
          "check the nameservers in resolv.conf and that this pod may reach them (network policy, UDP port 53), or give the " +
            "addresses of the name in the option `addresses`",
        ];
  return new OnehopError(
    "ERR_ONEHOP_NAME",
    `${host} ${what}: asked ${servers.map(nameServerLabel).join(", ")} for ${candidates.join(", ")}: ` +
      `${answers.join("; ")}. To mend it, ${fix}.`,
    { reason },
  );
}
