import { describe, expect, it } from "vitest";
import {
  hasSessionAffinity,
  hasTwoScopes,
  isClusterIp,
  isInternalLocal,
  isL7Proxy,
  SERVICE_FLAGS,
  serviceFlagNames,
} from "../../src/cilium/service-flags.js";

describe("service flags", () => {
  it("are sixteen different bits", () => {
    const bits = Object.values(SERVICE_FLAGS);
    expect(bits).toHaveLength(16);
    expect(bits.reduce((all, bit) => all | bit, 0)).toBe(0xffff);
  });

  it.each([
    ["isL7Proxy", isL7Proxy, 0x0400],
    ["hasTwoScopes", hasTwoScopes, 0x2000],
    ["hasSessionAffinity", hasSessionAffinity, 0x0010],
    ["isInternalLocal", isInternalLocal, 0x1000],
  ] as const)("%s tells its own bit from all others", (_name, predicate, bit) => {
    expect(predicate(bit)).toBe(true);
    expect(predicate(0xffff & ~bit)).toBe(false);
  });

  it("a ClusterIP is what has no other type", () => {
    for (const type of [0x01, 0x02, 0x08, 0x20, 0x0100]) expect(isClusterIp(type)).toBe(false);
    for (const other of [0, 0x10, 0x1000, 0x2000, 0x0400]) expect(isClusterIp(other)).toBe(true);
  });

  it("are named for people: the NodePort master of a real node", () => {
    expect(serviceFlagNames(0x42)).toEqual(["nodePort", "routable"]);
    expect(serviceFlagNames(0x60)).toEqual(["loadBalancer", "routable"]);
    expect(serviceFlagNames(0)).toEqual([]);
  });
});
