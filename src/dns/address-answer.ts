import type { Answer, DecodedPacket } from "dns-packet";
import { formatIpAddress, parseIpAddress } from "../model/ip-address.js";
import { normalHost } from "../model/service-ref.js";
import { type DnsQuestion, RCODE, responseCode, responseCodeName } from "./dns-message.js";

/** What a nameserver's answer says of the addresses of one family. */
export type AddressAnswer =
  | { readonly kind: "addresses"; readonly addresses: readonly string[]; readonly ttlMs: number }
  /** NXDOMAIN: the name does not exist. */
  | { readonly kind: "no-such-name" }
  /** The name exists without such addresses. */
  | { readonly kind: "no-data" }
  /** The server could not or would not answer; another one may. `why` is what it did, such as `answered SERVFAIL`. */
  | { readonly kind: "failed"; readonly why: string };

/** Longest chain of aliases that is followed; the bound that common resolvers have. */
const MOST_ALIASES = 16;

/** RFC 2181 §8: a TTL with the top bit set counts as 0. */
const LARGEST_TTL = 0x7fff_ffff;

/**
 * The addresses that the answer section gives for the question, following its CNAME records (RFC 1034 §3.6.2). The
 * lifetime is the least of all records used, aliases included.
 */
export function readAddressAnswer(packet: DecodedPacket, question: DnsQuestion): AddressAnswer {
  const code = responseCode(packet);
  if (code === RCODE.noSuchName) return { kind: "no-such-name" };
  if (code !== RCODE.noError) return { kind: "failed", why: `answered ${responseCodeName(code)}` };

  const records = (packet.answers ?? []).filter(isTextRecord);
  let name = question.name;
  let ttl = LARGEST_TTL;
  for (let aliases = 0; aliases <= MOST_ALIASES; aliases += 1) {
    const owned = records.filter((record) => normalHost(record.name) === name);
    const matching = owned.filter((record) => record.type === question.type);
    if (matching.length > 0) {
      for (const record of matching) ttl = Math.min(ttl, lifetime(record));
      return addressesOf(matching, question.type === "A" ? 4 : 16, ttl);
    }
    const alias = owned.find((record) => record.type === "CNAME");
    if (alias === undefined) return { kind: "no-data" };
    ttl = Math.min(ttl, lifetime(alias));
    name = normalHost(alias.data);
  }
  return { kind: "failed", why: `answered with a chain of more than ${MOST_ALIASES} CNAME records` };
}

/** The records whose data the codec gives as text. */
type TextRecord = Answer & {
  readonly type: "A" | "AAAA" | "CNAME";
  readonly data: string;
  readonly ttl?: number | undefined;
};

function isTextRecord(record: Answer): record is TextRecord {
  return (
    (record.type === "A" || record.type === "AAAA" || record.type === "CNAME") &&
    record.class === "IN" &&
    typeof record.data === "string"
  );
}

function lifetime(record: TextRecord): number {
  const ttl = record.ttl ?? 0;
  return ttl > LARGEST_TTL ? 0 : ttl;
}

function addressesOf(records: readonly TextRecord[], byteLength: number, ttl: number): AddressAnswer {
  const addresses = new Set<string>();
  for (const record of records) {
    const bytes = parseIpAddress(record.data);
    if (bytes?.length !== byteLength)
      return { kind: "failed", why: `answered with the malformed address ${record.data}` };
    addresses.add(formatIpAddress(bytes));
  }
  return { kind: "addresses", addresses: [...addresses], ttlMs: ttl * 1_000 };
}
