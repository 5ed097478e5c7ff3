import { type CodeTable, createCodeTable } from "./code-table.js";
import { CONSTANTS } from "./layouts.js";

/**
 * Transport of a service or backend. `any` is what Cilium wrote for all protocols before 1.17, and what entries of that
 * time keep until 1.18 migrates them.
 */
export type Protocol = "any" | "tcp" | "udp" | "sctp";

/** IP protocol numbers (IANA), 0 for `any`. */
export const PROTOCOLS: CodeTable<Protocol> = createCodeTable({
  any: CONSTANTS.CILIUM_PROTO_ANY,
  tcp: CONSTANTS.CILIUM_PROTO_TCP,
  udp: CONSTANTS.CILIUM_PROTO_UDP,
  sctp: CONSTANTS.CILIUM_PROTO_SCTP,
});
