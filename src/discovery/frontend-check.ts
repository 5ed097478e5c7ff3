import { type Backend, decodeBackend } from "../cilium/backend-map.js";
import { decodeReverseNat, encodeReverseNatKey } from "../cilium/reverse-nat-map.js";
import { decodeServiceSlot, type ServiceMaster } from "../cilium/service-map.js";
import { type PassContent, type PassSlot, passContent } from "./frontend-pass.js";
import type { FamilyMaps } from "./map-set.js";

/** A backend of a frontend, and whether new connections may go to it. */
export interface MemberBackend {
  readonly backendId: number;
  readonly backend: Backend;
  /** Its slot is after the counted ones: kept for running connections only. */
  readonly isTail: boolean;
}

/** What a pass says, checked. */
export type CheckedFrontend =
  | { readonly kind: "absent" }
  | {
      readonly kind: "present";
      readonly master: ServiceMaster;
      readonly members: readonly MemberBackend[];
      /** Counted slots whose entry or backend is missing: a change under way, or left by an agent that died in one. */
      readonly gaps: readonly string[];
    }
  /** Entries that cannot belong together. */
  | { readonly kind: "conflict"; readonly reason: string };

/**
 * Checks that the entries of a pass belong together and to the frontend that was asked for: every slot carries the
 * master's reverse-NAT number, that number leads back to the frontend, no backend stands twice, and each serves TCP.
 * A look-up in a map that is being changed can return another key's value; equal passes alone do not show that.
 *
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` when bytes do not decode
 */
export function checkFrontend(bytes: Uint8Array, maps: FamilyMaps, address: string, port: number): CheckedFrontend {
  const content = passContent(bytes, maps.backends.info.valueSize);
  if (!content.isPresent) return { kind: "absent" };
  const wayBack = checkWayBack(content, maps, address, port);
  if (wayBack !== undefined) return { kind: "conflict", reason: wayBack };
  const slots = content.master.count + content.master.qcount;
  if (content.slots.length < slots) {
    return conflict(`the master counts ${slots} slots, and those before slot ${content.slots.length} are missing`);
  }
  const members: MemberBackend[] = [];
  const gaps: string[] = [];
  const seen = new Set<number>();
  for (const entry of content.slots) {
    const isTail = entry.slot > content.master.count;
    const found = readSlot(entry, content, isTail);
    if (found.kind === "conflict") return found;
    if (found.kind === "gap") {
      // What is missing in the tail takes no new connections anyway.
      if (!isTail) gaps.push(found.reason);
      continue;
    }
    const { backendId } = found.member;
    if (seen.has(backendId)) return conflict(`backend ${backendId} stands in two slots`);
    seen.add(backendId);
    members.push(found.member);
  }
  return { kind: "present", master: content.master, members, gaps };
}

type Conflict = Extract<CheckedFrontend, { kind: "conflict" }>;

function conflict(reason: string): Conflict {
  return { kind: "conflict", reason };
}

type Present = Extract<PassContent, { isPresent: true }>;

/** What a slot holds. */
type SlotContent =
  | { readonly kind: "member"; readonly member: MemberBackend }
  /** The slot's entry or its backend is missing. */
  | { readonly kind: "gap"; readonly reason: string }
  | Conflict;

function readSlot(entry: PassSlot, content: Present, isTail: boolean): SlotContent {
  if (!entry.service.isPresent) return gap(`slot ${entry.slot} of ${content.master.count} is missing`);
  const { backendId, revNat } = decodeServiceSlot(entry.service.value);
  if (revNat !== content.master.revNat) {
    return conflict(`slot ${entry.slot} carries the reverse-NAT number ${revNat}, the master ${content.master.revNat}`);
  }
  if (!entry.backend.isPresent) return gap(`backend ${backendId} of slot ${entry.slot} is missing`);
  const backend = decodeBackend(entry.backend.value);
  if (backend.protocol !== "tcp" && backend.protocol !== "any") {
    return conflict(`backend ${backendId} serves ${backend.protocol}, not tcp`);
  }
  return { kind: "member", member: { backendId, backend, isTail } };
}

function gap(reason: string): SlotContent {
  return { kind: "gap", reason };
}

/** Whether the master's number leads back to the frontend: says what is wrong, or undefined. */
function checkWayBack(content: Present, maps: FamilyMaps, address: string, port: number): string | undefined {
  const { revNat } = content.master;
  const value = new Uint8Array(maps.reverseNat.info.valueSize);
  if (!maps.reverseNat.lookup(encodeReverseNatKey(revNat), value)) {
    return `the master's reverse-NAT number ${revNat} leads nowhere`;
  }
  const frontend = decodeReverseNat(value);
  if (frontend.address === address && frontend.port === port) return undefined;
  return `the master's reverse-NAT number ${revNat} leads to ${frontend.address}:${frontend.port}`;
}
