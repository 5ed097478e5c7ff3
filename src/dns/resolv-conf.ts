import { normalHost } from "../model/service-ref.js";
import { isDnsName } from "./dns-name.js";
import { canonicalServerAddress } from "./name-server.js";

/** What resolv.conf(5) says about asking for names. */
export interface ResolvConf {
  /** Canonical addresses, in order, at most 3; `127.0.0.1` when the file names none. IPv6 may carry a zone (`%eth0`). */
  readonly nameservers: readonly string[];
  /** Domains that complete a short name, in order, in lower case and without a trailing dot. */
  readonly search: readonly string[];
  /** A name with at least this many dots is tried as it is first. Default 1, at most 15. */
  readonly ndots: number;
  /** How long to wait for one server, in milliseconds. Default 5,000, from 1,000 to 30,000. */
  readonly timeoutMs: number;
  /** How often all servers are asked in turn. Default 2, from 1 to 5. */
  readonly attempts: number;
  /** What had no effect, for people: `line 3: "nameserver fo.o": no IP address`. At most 100 entries. */
  readonly ignored: readonly string[];
}

/** glibc's MAXNS. */
const MOST_NAMESERVERS = 3;
/** What Kubernetes allows in a pod's dnsConfig; glibc since 2.26 has no limit of its own. */
const MOST_SEARCH_DOMAINS = 32;
const MOST_IGNORED = 100;

/** Numeric options with glibc's bounds: larger values are lowered, smaller ones raised. */
const OPTION_BOUNDS: Readonly<Record<string, readonly [least: number, most: number]>> = {
  ndots: [0, 15],
  timeout: [1, 30],
  attempts: [1, 5],
};

/**
 * Reads the text of a resolv.conf as glibc does. It never throws: what cannot be read is ignored, as resolv.conf(5)
 * asks, and told in `ignored`. Unlike glibc it derives no search domain from the host name and reads neither
 * `LOCALDOMAIN` nor `RES_OPTIONS`: a pod's file is complete.
 */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let search: readonly string[] = [];
  const options: Record<string, number> = { ndots: 1, timeout: 5, attempts: 2 };
  const ignored: string[] = [];

  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^[;#]/.test(line) || line.trim() === "") continue;
    const ignore = (what: string, why: string): void => {
      if (ignored.length < MOST_IGNORED)
        ignored.push(`line ${index + 1}: ${JSON.stringify(what.slice(0, 80))}: ${why}`);
    };
    // resolv.conf(5): the keyword must start the line.
    const keyword = /^\S*/.exec(line)?.[0] ?? "";
    const words = wordsOf(line.slice(keyword.length));
    if (keyword === "nameserver") readNameserver(words, nameservers, ignore);
    else if (keyword === "search") search = readDomains(words, MOST_SEARCH_DOMAINS, ignore);
    else if (keyword === "domain") search = readDomains(words, 1, ignore);
    else if (keyword === "options") readOptions(words, options, ignore);
    else ignore(line, keyword === "" ? "the keyword must start the line" : `${keyword} has no effect here`);
  }

  const { ndots = 1, timeout = 5, attempts = 2 } = options;
  return {
    nameservers: nameservers.length === 0 ? ["127.0.0.1"] : nameservers,
    search,
    ndots,
    timeoutMs: timeout * 1_000,
    attempts,
    ignored,
  };
}

type Ignore = (what: string, why: string) => void;

/** The words up to a comment sign that starts a word. */
function wordsOf(text: string): readonly string[] {
  const words = text.split(/\s+/).filter((word) => word !== "");
  const comment = words.findIndex((word) => /^[;#]/.test(word));
  return comment === -1 ? words : words.slice(0, comment);
}

function readNameserver(words: readonly string[], nameservers: string[], ignore: Ignore): void {
  const text = words[0] ?? "";
  const address = canonicalServerAddress(text);
  if (address === undefined) ignore(`nameserver ${text}`, "no IP address");
  else if (nameservers.length === MOST_NAMESERVERS)
    ignore(`nameserver ${text}`, `only the first ${MOST_NAMESERVERS} count`);
  else nameservers.push(address);
}

function readDomains(words: readonly string[], most: number, ignore: Ignore): readonly string[] {
  const domains: string[] = [];
  for (const word of words) {
    const domain = normalHost(word);
    if (domain !== "" && !isDnsName(domain)) ignore(word, "no domain name");
    else if (domains.length === most) ignore(word, `only the first ${most} count`);
    else domains.push(domain);
  }
  return domains;
}

function readOptions(words: readonly string[], options: Record<string, number>, ignore: Ignore): void {
  for (const word of words) {
    const [, name = "", digits = ""] = /^([a-z]+):([0-9]{1,9})$/.exec(word) ?? [];
    const bounds = Object.hasOwn(OPTION_BOUNDS, name) ? OPTION_BOUNDS[name] : undefined;
    if (bounds === undefined) ignore(`options ${word}`, "this option has no effect here");
    else options[name] = Math.min(Math.max(Number(digits), bounds[0]), bounds[1]);
  }
}
