import { describe, expect, it } from "vitest";
import { buildEndpoints } from "../../src/discovery/bpf-endpoints.js";
import type { MemberBackend } from "../../src/discovery/frontend-check.js";

const naming = { clusters: { 1: "one" }, zones: {}, maxConnectedClusters: 255 as const };
const unknown = () => ({ identity: undefined, node: undefined });

function member(backendId: number, address: string): MemberBackend {
  const backend = { address, port: 80, protocol: "tcp", state: "active", clusterId: 0, zone: 0 } as const;
  return { backendId, backend, isTail: false };
}

describe("buildEndpoints", () => {
  it("T-43: a pod whose new backend id spells a key kept over a renumbering is a new endpoint all the same", () => {
    const before = buildEndpoints([member(5, "10.1.1.1")], unknown, [], false, naming);
    const renumbered = buildEndpoints([member(2, "10.1.1.1")], unknown, before, true, naming);
    expect(renumbered.map(({ key }) => key)).toEqual(before.map(({ key }) => key));
    const replaced = buildEndpoints([member(5, "10.1.1.1")], unknown, renumbered, false, naming);
    expect(replaced[0]?.key).not.toBe(renumbered[0]?.key);
    const still = buildEndpoints([member(5, "10.1.1.1")], unknown, replaced, false, naming);
    expect(still[0]?.key).toBe(replaced[0]?.key);
  });
});
