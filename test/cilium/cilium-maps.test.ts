import { describe, expect, it } from "vitest";
import { CILIUM_MAPS, IPCACHE_MAPS, lbMaps } from "../../src/cilium/cilium-maps.js";
import { CILIUM_VERSIONS } from "../../src/cilium/cilium-versions.js";
import type { MapShape } from "../../src/kernel/kernel.js";

describe("the catalogue of maps", () => {
  it("names type and sizes as Cilium creates them", () => {
    const rows = CILIUM_MAPS.map((map) => {
      const shape: MapShape = map.shape;
      return `${map.pin} ${shape.type} ${shape.keySize} ${shape.valueSizes.join()}`;
    });
    expect(rows).toEqual([
      "cilium_lb4_services_v2 hash 12 12",
      "cilium_lb4_backends_v3 hash 4 12",
      "cilium_lb4_backends_v2 hash 4 8",
      "cilium_lb4_reverse_nat hash 2 6",
      "cilium_lb6_services_v2 hash 24 12",
      "cilium_lb6_backends_v3 hash 4 24",
      "cilium_lb6_backends_v2 hash 4 20",
      "cilium_lb6_reverse_nat hash 2 18",
      "cilium_ipcache_v2 lpm_trie 24 24",
      "cilium_ipcache lpm_trie 24 12",
    ]);
  });

  it("gives each family its own maps", () => {
    for (const family of [4, 6] as const) {
      for (const map of Object.values(lbMaps(family))) {
        expect(map.family).toBe(family);
        expect(map.pin).toContain(`lb${family}_`);
      }
    }
  });

  it("prefers the newer ipcache", () => {
    expect(IPCACHE_MAPS.map((map) => map.pin)).toEqual(["cilium_ipcache_v2", "cilium_ipcache"]);
  });

  it("agrees with the versions on who writes which ipcache", () => {
    for (const { version, ipcache } of CILIUM_VERSIONS) {
      const map = IPCACHE_MAPS.find(({ pin }) => pin === ipcache);
      const minor = Number(version.slice(2));
      expect(minor).toBeGreaterThanOrEqual(Number(map?.since?.slice(2) ?? 0));
      expect(minor).toBeLessThanOrEqual(Number(map?.until?.slice(2) ?? 99));
    }
  });
});

describe("the versions of Cilium", () => {
  it("run from 1.13 to 1.20 without a gap", () => {
    const minors = CILIUM_VERSIONS.map(({ version }) => Number(version.slice(2)));
    expect(minors).toEqual([13, 14, 15, 16, 17, 18, 19, 20]);
  });

  it.each([
    ["writesQcount", "1.16"],
    ["writesZone", "1.16"],
    ["writesAlgorithm", "1.17"],
    ["writesProtocol", "1.17"],
    ["writesSlotFlags", "1.18"],
    ["writesWildcards", "1.19"],
  ] as const)("%s from %s on", (property, since) => {
    const first = CILIUM_VERSIONS.findIndex((version) => version[property]);
    expect(CILIUM_VERSIONS[first]?.version).toBe(since);
    expect(CILIUM_VERSIONS.slice(first).every((version) => version[property])).toBe(true);
  });
});
