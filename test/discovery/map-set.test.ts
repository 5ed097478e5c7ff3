import { beforeEach, describe, expect, it } from "vitest";
import { type CiliumMap, IPCACHE_MAPS, lbMaps } from "../../src/cilium/cilium-maps.js";
import { CiliumMapSet } from "../../src/discovery/map-set.js";
import { createFakeKernel, type FakeKernel } from "../../src/kernel/fake-kernel.js";
import type { KernelReason } from "../../src/kernel/kernel.js";

const DIRECTORY = "/pins";
const [NEWER, OLDER] = IPCACHE_MAPS;
const { services, backends, reverseNat } = lbMaps(4);
const pathOf = ({ pin }: CiliumMap): string => `${DIRECTORY}/${pin}`;

let kernel: FakeKernel;
let maps: CiliumMapSet;

function pin(map: CiliumMap): void {
  kernel.pin(kernel.create(map.pin, { ...map.shape, maxEntries: 10 }), pathOf(map));
}

beforeEach(() => {
  kernel = createFakeKernel();
  maps = new CiliumMapSet(kernel, DIRECTORY);
  for (const map of [services, backends, reverseNat]) pin(map);
});

describe("the maps of a family", () => {
  it("are opened when first asked for, and once", () => {
    expect(kernel.openReaders(pathOf(services))).toBe(0);
    const family = maps.family(4);
    expect(maps.family(4)).toBe(family);
    expect([services, backends, reverseNat].map((map) => kernel.openReaders(pathOf(map)))).toEqual([1, 1, 1]);
    expect([family.family, family.services.path, family.isCurrent()]).toEqual([4, pathOf(services), true]);
  });

  it("of a family that Cilium does not use have no pins", () => {
    expect(() => maps.family(6)).toThrow(expect.objectContaining({ code: "ERR_ONEHOP_KERNEL", reason: "no-pin" }));
  });

  it("leak nothing when one of them cannot be opened", () => {
    kernel.failOpen(pathOf(reverseNat), "file-mode");
    for (let attempt = 0; attempt < 5; attempt += 1) {
      expect(() => maps.family(4)).toThrow(expect.objectContaining({ reason: "file-mode" }));
    }
    expect(kernel.openReaders(pathOf(services))).toBe(1);
    kernel.allowOpen(pathOf(reverseNat));
    maps.family(4);
    maps.close();
    expect([services, backends, reverseNat].map((map) => kernel.openReaders(pathOf(map)))).toEqual([0, 0, 0]);
  });

  it("with another layout are refused before a byte is read", () => {
    const shape = { ...services.shape, valueSizes: [16] };
    kernel.pin(kernel.create("other", { ...shape, maxEntries: 1 }), pathOf(services));
    expect(() => maps.family(4)).toThrow(expect.objectContaining({ reason: "layout" }));
  });
});

describe("pins that are replaced", () => {
  it("are told by their path, and all maps are opened anew", () => {
    const before = maps.family(4);
    expect(maps.closeReplaced()).toEqual([]);
    pin(backends);
    expect(before.isCurrent()).toBe(false);
    expect(maps.closeReplaced()).toEqual([pathOf(backends)]);
    expect(kernel.openReaders(pathOf(services))).toBe(0);
    const after = maps.family(4);
    expect(after).not.toBe(before);
    expect([after.isCurrent(), maps.closeReplaced()]).toEqual([true, []]);
    expect(() => before.services.lookup(new Uint8Array(12), new Uint8Array(12))).toThrow(
      expect.objectContaining({ reason: "closed" }),
    );
  });

  it("are noticed when that happened between two openings", () => {
    const [first] = [maps.family(4)];
    pin(services);
    pin(backends);
    expect([...maps.closeReplaced()].sort()).toEqual([pathOf(backends), pathOf(services)].sort());
    expect(first.isCurrent(), "the closed ones are nobody's").toBe(false);
  });

  it("are not those that are gone: the open map is the best there is", () => {
    const family = maps.family(4);
    kernel.unpin(pathOf(services));
    expect([maps.closeReplaced(), family.isCurrent()]).toEqual([[], true]);
    expect(family.services.lookup(new Uint8Array(12), new Uint8Array(12))).toBe(false);
    pin(services);
    expect(maps.closeReplaced()).toEqual([pathOf(services)]);
  });
});

describe("the ipcache", () => {
  it("is the newer one where both are pinned", () => {
    pin(OLDER);
    pin(NEWER);
    expect(maps.ipcache().path).toBe(pathOf(NEWER));
    expect(maps.ipcache()).toBe(maps.ipcache());
    expect(maps.closeReplaced()).toEqual([]);
  });

  it("is the older one until there is a newer one", () => {
    pin(OLDER);
    expect(maps.ipcache().path).toBe(pathOf(OLDER));
    expect(maps.closeReplaced()).toEqual([]);
    pin(NEWER);
    expect(maps.closeReplaced()).toEqual([pathOf(NEWER)]);
    expect(maps.ipcache().path).toBe(pathOf(NEWER));
    expect(kernel.openReaders(pathOf(OLDER))).toBe(0);
  });

  it.each<KernelReason>(["file-mode", "seccomp", "layout"])("does not hide why the newer one fails: %s", (reason) => {
    pin(OLDER);
    pin(NEWER);
    kernel.failOpen(pathOf(NEWER), reason);
    expect(() => maps.ipcache()).toThrow(expect.objectContaining({ reason }));
  });

  it("that is nowhere is an error", () => {
    expect(() => maps.ipcache()).toThrow(expect.objectContaining({ reason: "no-pin" }));
  });
});

describe("closing", () => {
  it("closes every map and may be repeated; the set can be used again", () => {
    pin(NEWER);
    maps.family(4);
    maps.ipcache();
    maps.close();
    maps.close();
    const all = [services, backends, reverseNat, NEWER];
    expect(all.map((map) => kernel.openReaders(pathOf(map)))).toEqual([0, 0, 0, 0]);
    expect(maps.family(4).services.path).toBe(pathOf(services));
  });
});
