import { formatHostPort, formatIpAddress, parseIpAddress } from "../model/ip-address.js";

/** Where to ask for names. */
export interface NameServer {
  /** Canonical IP address; a link-local IPv6 address may carry its zone (`fe80::1%eth0`). */
  readonly address: string;
  /** Default 53. */
  readonly port?: number;
}

export function nameServerPort(server: NameServer): number {
  return server.port ?? 53;
}

/** `address:port` for people. */
export function nameServerLabel(server: NameServer): string {
  return formatHostPort(server.address, nameServerPort(server));
}

/** Canonical text of an address that may carry a zone; undefined when it is none. */
export function canonicalServerAddress(text: string): string | undefined {
  const [, address = "", zone = ""] = /^([^%]*)(%[\w.-]+)?$/.exec(text) ?? [];
  const bytes = parseIpAddress(address);
  if (bytes === undefined || (zone !== "" && bytes.length === 4)) return undefined;
  return formatIpAddress(bytes) + zone;
}

/**
 * Reads `address`, `address:port` or `[address]:port`. What is no IP address is handed on as it stands, for the resolver
 * to refuse by name.
 */
export function parseNameServer(text: string): NameServer {
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(text);
  const plain = /^([^:]+):(\d+)$/.exec(text);
  const [, address = text, port] = bracketed ?? plain ?? [];
  return port === undefined ? { address } : { address, port: Number(port) };
}
