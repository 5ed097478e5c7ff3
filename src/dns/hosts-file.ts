import { formatIpAddress, parseIpAddress } from "../model/ip-address.js";
import { normalHost } from "../model/service-ref.js";

/** The names of hosts(5), which come before any nameserver. */
export interface HostsFile {
  /** Canonical addresses of exactly this name, IPv4 first; empty when the file does not have it. */
  lookup(name: string): readonly string[];
}

/**
 * Reads the text of a hosts file: an address, then names; `#` starts a comment. It never throws: lines that do not start
 * with an address are skipped, and so are addresses with a zone id, which would mean nothing on another interface. A name
 * in several lines has all their addresses.
 */
export function parseHostsFile(text: string): HostsFile {
  const ipv4 = new Map<string, Set<string>>();
  const ipv6 = new Map<string, Set<string>>();
  for (const line of text.split("\n")) {
    const [content = ""] = line.split("#", 1);
    const [address = "", ...names] = content.trim().split(/\s+/);
    const bytes = parseIpAddress(address);
    if (bytes === undefined) continue;
    const family = bytes.length === 4 ? ipv4 : ipv6;
    for (const name of names) {
      const key = normalHost(name);
      const addresses = family.get(key) ?? new Set();
      family.set(key, addresses.add(formatIpAddress(bytes)));
    }
  }
  return {
    lookup(name) {
      const key = normalHost(name);
      return [...(ipv4.get(key) ?? []), ...(ipv6.get(key) ?? [])];
    },
  };
}
