import { type DecodedPacket, decode, encode, RECURSION_DESIRED } from "dns-packet";
import { normalHost } from "../model/service-ref.js";

/** What is asked of a nameserver, in class IN. */
export interface DnsQuestion {
  /** A full name in lower case, without a trailing dot. */
  readonly name: string;
  readonly type: "A" | "AAAA";
}

/** The bytes of a query that asks for recursion. */
export function encodeQuery(id: number, question: DnsQuestion): Uint8Array {
  return encode({ type: "query", id, flags: RECURSION_DESIRED, questions: [{ ...question, class: "IN" }] });
}

/** A packet that answers the question, or why it does not. */
export type ReadReply =
  | { readonly isReply: true; readonly packet: DecodedPacket }
  | { readonly isReply: false; readonly why: string };

/**
 * Reads a datagram that may answer the query `id`. It must be a well-formed response with the same id and the same
 * question (RFC 5452 §9.1), whatever else it says. Never throws.
 */
export function readReply(message: Uint8Array, id: number, question: DnsQuestion): ReadReply {
  let packet: DecodedPacket;
  try {
    const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
    packet = decode(bytes);
    // The codec reads addresses without looking at the end of the buffer.
    if (decode.bytes > bytes.length) return { isReply: false, why: "malformed (it ends within a record)" };
  } catch (error) {
    return { isReply: false, why: `malformed (${error instanceof Error ? error.message : String(error)})` };
  }
  if (!packet.flag_qr) return { isReply: false, why: "no response" };
  if (packet.id !== id) return { isReply: false, why: "another id" };
  const [asked, ...others] = packet.questions ?? [];
  const isSame =
    asked !== undefined &&
    others.length === 0 &&
    normalHost(asked.name) === question.name &&
    asked.type === question.type &&
    asked.class === "IN";
  return isSame ? { isReply: true, packet } : { isReply: false, why: "another question" };
}

/** Response codes of RFC 1035 §4.1.1 that matter here. */
export const RCODE = { noError: 0, serverFailure: 2, noSuchName: 3, refused: 5 } as const;

const RCODE_NAMES: Readonly<Record<number, string>> = {
  0: "NOERROR",
  1: "FORMERR",
  2: "SERVFAIL",
  3: "NXDOMAIN",
  4: "NOTIMP",
  5: "REFUSED",
};

/** The response code of a packet, without the extension bits of EDNS0. */
export function responseCode(packet: DecodedPacket): number {
  return (packet.flags ?? 0) & 15;
}

/** `SERVFAIL` and the like; `RCODE 9` for rare ones. */
export function responseCodeName(code: number): string {
  return RCODE_NAMES[code] ?? `RCODE ${code}`;
}
