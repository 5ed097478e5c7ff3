import { describe, expect, it } from "vitest";
import { createFakeKernel, type FakeKernel, type FakeLookup } from "../../src/kernel/fake-kernel.js";
import { crossKeyReads, mixedReads, stepBefore, vanishingReads } from "../../src/kernel/fake-tears.js";
import type { KernelReason, MapReader, WritableMap } from "../../src/kernel/kernel.js";
import { seededRandom } from "../../src/random.js";
import { bytes, failure, HASH, kernelConformance } from "../support/kernel-conformance.js";

const PATH = "/fake/services";

function pinned(): { fake: FakeKernel; map: WritableMap; reader: MapReader } {
  const fake = createFakeKernel();
  const map = fake.create("services", { ...HASH, maxEntries: 16 });
  fake.pin(map, PATH);
  return { fake, map, reader: fake.open(PATH, HASH) };
}

const always = { ratio: 1, random: seededRandom(1) };

describe("the fake kernel", () => {
  kernelConformance(async () => {
    const fake = createFakeKernel();
    return { kernel: fake, maker: fake, path: (name) => `/fake/${name}`, close() {} };
  });

  it("says that it is simulated", () => {
    expect(createFakeKernel().kind).toBe("simulated");
  });

  it("counts look-ups and open readers by path", () => {
    const { fake, reader } = pinned();
    expect([fake.lookupCount(PATH), fake.openReaders(PATH)]).toEqual([0, 1]);
    reader.lookup(bytes(12, 0), bytes(12, 0));
    reader.lookup(bytes(12, 1), bytes(12, 0));
    reader.close();
    expect([fake.lookupCount(PATH), fake.openReaders(PATH), fake.lookupCount("/other")]).toEqual([2, 0, 0]);
  });

  it.each<KernelReason>(["no-koffi", "no-bpffs", "no-pin", "file-mode", "seccomp", "capability", "layout", "errno"])(
    "fails open with %s until allowed again",
    (reason) => {
      const { fake, reader } = pinned();
      fake.failOpen(PATH, reason);
      expect(failure(() => fake.open(PATH, HASH))).toBe(`ERR_ONEHOP_KERNEL ${reason}`);
      expect(reader.lookup(bytes(12, 0), bytes(12, 0)), "an open reader works on").toBe(false);
      fake.allowOpen(PATH);
      expect(failure(() => fake.open(PATH, HASH))).toBe("no error");
    },
  );

  it("does not pin a map of another kernel", () => {
    const other = createFakeKernel().create("other", { ...HASH, maxEntries: 1 });
    expect(() => createFakeKernel().pin(other, PATH)).toThrow(TypeError);
  });

  it("keeps values apart from the buffers that were handed in or out", () => {
    const { map, reader } = pinned();
    const mine = bytes(12, 5);
    map.update(bytes(12, 1), mine);
    mine.fill(6);
    const got = bytes(12, 0);
    reader.lookup(bytes(12, 1), got);
    expect(got).toEqual(bytes(12, 5));
    got.fill(7);
    reader.lookup(bytes(12, 1), mine);
    expect(mine).toEqual(bytes(12, 5));
  });
});

describe("hooks of the fake kernel", () => {
  it("an answer hook sees the truth and may replace it, until removed", () => {
    const { fake, map, reader } = pinned();
    map.update(bytes(12, 1), bytes(12, 1));
    map.update(bytes(12, 1), bytes(12, 2));
    map.update(bytes(12, 9), bytes(12, 9));
    const seen: FakeLookup[] = [];
    const remove = fake.onLookup((lookup) => {
      seen.push(lookup);
      return bytes(12, 3);
    });
    const value = bytes(12, 0);
    expect(reader.lookup(bytes(12, 1), value)).toBe(true);
    expect(value).toEqual(bytes(12, 3));
    expect(seen[0]).toMatchObject({ path: PATH, key: bytes(12, 1), value: bytes(12, 2), previous: bytes(12, 1) });
    expect(seen[0]?.others()).toEqual([bytes(12, 9)]);
    expect(reader.lookup(bytes(12, 4), value), "an absent key can be given a value").toBe(true);
    remove();
    reader.lookup(bytes(12, 1), value);
    expect(value).toEqual(bytes(12, 2));
  });

  it("hooks run in order, each on the answer of the one before", () => {
    const { fake, reader } = pinned();
    fake.onLookup(() => bytes(12, 3));
    fake.onLookup(({ value }) => value?.map((byte) => byte + 1));
    const value = bytes(12, 0);
    reader.lookup(bytes(12, 1), value);
    expect(value).toEqual(bytes(12, 4));
  });

  it("a replacement of a wrong size is an error of the test", () => {
    const { fake, reader } = pinned();
    fake.onLookup(() => bytes(3, 0));
    expect(() => reader.lookup(bytes(12, 1), bytes(12, 0))).toThrow(RangeError);
  });

  it("stepBefore runs a writer once, before the nth look-up of a map", () => {
    const { fake, map, reader } = pinned();
    fake.beforeLookup(stepBefore(2, () => map.update(bytes(12, 1), bytes(12, 5)), PATH));
    fake.beforeLookup(
      stepBefore(
        1,
        () => {
          throw new Error("counts another map only");
        },
        "/other",
      ),
    );
    const answers = [1, 2, 3].map(() => reader.lookup(bytes(12, 1), bytes(12, 0)));
    expect(answers).toEqual([false, true, true]);
  });
});

describe("tears", () => {
  it("crossKeyReads gives another key's value", () => {
    const { fake, map, reader } = pinned();
    map.update(bytes(12, 1), bytes(12, 1));
    fake.onLookup(crossKeyReads(always));
    const value = bytes(12, 0);
    reader.lookup(bytes(12, 1), value);
    expect(value, "there is no other key yet").toEqual(bytes(12, 1));
    map.update(bytes(12, 2), bytes(12, 2));
    reader.lookup(bytes(12, 1), value);
    expect(value).toEqual(bytes(12, 2));
    expect(reader.lookup(bytes(12, 3), value), "an absent key stays absent").toBe(false);
  });

  it("mixedReads joins the present value with the one before it", () => {
    const { fake, map, reader } = pinned();
    map.update(bytes(12, 1), bytes(12, 1));
    map.update(bytes(12, 1), bytes(12, 2));
    fake.onLookup(mixedReads(always));
    const value = bytes(12, 0);
    const seams = new Set<number>();
    for (let round = 0; round < 200; round += 1) {
      reader.lookup(bytes(12, 1), value);
      const seam = value.indexOf(1);
      expect([...value]).toEqual([...bytes(seam, 2), ...bytes(12 - seam, 1)]);
      seams.add(seam);
    }
    expect([...seams].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it("mixedReads takes another key's bytes where the element was written once", () => {
    const { fake, map, reader } = pinned();
    map.update(bytes(12, 1), bytes(12, 1));
    map.update(bytes(12, 2), bytes(12, 2));
    fake.onLookup(mixedReads(always));
    const value = bytes(12, 0);
    reader.lookup(bytes(12, 1), value);
    expect(new Set(value)).toEqual(new Set([1, 2]));
  });

  it("vanishingReads hides a present key", () => {
    const { fake, map, reader } = pinned();
    map.update(bytes(12, 1), bytes(12, 1));
    const remove = fake.onLookup(vanishingReads(always));
    expect(reader.lookup(bytes(12, 1), bytes(12, 0))).toBe(false);
    remove();
    expect(reader.lookup(bytes(12, 1), bytes(12, 0))).toBe(true);
  });

  it("strikes at the ratio, only in the map named, and alike for equal seeds", () => {
    const run = (path: string): boolean[] => {
      const { fake, map, reader } = pinned();
      map.update(bytes(12, 1), bytes(12, 1));
      fake.onLookup(vanishingReads({ ratio: 0.25, random: seededRandom(7), path }));
      return Array.from({ length: 2000 }, () => reader.lookup(bytes(12, 1), bytes(12, 0)));
    };
    const missed = run(PATH).filter((hit) => !hit).length;
    expect(missed).toBeGreaterThan(400);
    expect(missed).toBeLessThan(600);
    expect(run(PATH)).toEqual(run(PATH));
    expect(run("/other")).not.toContain(false);
  });
});
