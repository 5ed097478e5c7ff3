/** What holds of every kernel, the real one and the fake: run against both, it keeps the fake honest. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isOnehopError } from "../../src/errors.js";
import type { Kernel, MapMaker, MapShape, WritableMap } from "../../src/kernel/kernel.js";
import { type Random, seededRandom } from "../../src/random.js";

export interface KernelUnderTest {
  readonly kernel: Kernel;
  readonly maker: MapMaker;
  /** A path to pin at. */
  path(name: string): string;
  close(): void;
}

export const HASH = { type: "hash", keySize: 12, valueSizes: [12] } as const satisfies MapShape;
export const TRIE = { type: "lpm_trie", keySize: 8, valueSizes: [4] } as const satisfies MapShape;
const ARRAY = { type: "array", keySize: 4, valueSizes: [8] } as const satisfies MapShape;

export const bytes = (size: number, fill: number): Uint8Array => new Uint8Array(size).fill(fill);

export function trieKey(length: number, data: readonly number[]): Uint8Array {
  const key = new Uint8Array(8);
  new DataView(key.buffer).setUint32(0, length, true);
  key.set(data, 4);
  return key;
}

/** What a failed action came to: code and reason of the error, without the message. */
export function failure(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (isOnehopError(error)) return `${error.code} ${error.reason}`;
    return error instanceof Error ? error.name : "not an error";
  }
  return "no error";
}

function makePinned(under: KernelUnderTest, name: string, shape: MapShape, maxEntries = 16): WritableMap {
  const map = under.maker.create(name, { ...shape, maxEntries });
  under.maker.pin(map, under.path(name));
  return map;
}

export function kernelConformance(start: () => Promise<KernelUnderTest>): void {
  let under: KernelUnderTest;
  beforeAll(async () => {
    under = await start();
  });
  afterAll(() => under.close());

  describe("open", () => {
    it("tells what the map is", () => {
      const map = makePinned(under, "told", HASH);
      const reader = under.kernel.open(under.path("told"), HASH);
      expect(reader.info).toEqual({
        ...map.info,
        type: "hash",
        keySize: 12,
        valueSize: 12,
        maxEntries: 16,
        name: "told",
      });
      expect(reader.path).toBe(under.path("told"));
      reader.close();
    });

    it("cuts a long name and drops characters the kernel refuses", () => {
      const map = under.maker.create("a-name/of.more_than-fifteen", { ...HASH, maxEntries: 1 });
      expect(map.info.name).toBe("anameof.more_th");
      map.close();
    });

    it("answers no-pin where nothing is pinned", () => {
      expect(failure(() => under.kernel.open(under.path("nothing"), HASH))).toBe("ERR_ONEHOP_KERNEL no-pin");
      expect(under.kernel.pinStamp(under.path("nothing"))).toBeUndefined();
    });

    it.each([
      ["type", { ...HASH, type: "array" }],
      ["key size", { ...HASH, keySize: 24 }],
      ["value size", { ...HASH, valueSizes: [8, 24] }],
    ] as const)("refuses another %s as layout", (_what, shape) => {
      makePinned(under, "shaped", HASH);
      expect(failure(() => under.kernel.open(under.path("shaped"), shape))).toBe("ERR_ONEHOP_KERNEL layout");
      expect(failure(() => under.kernel.open(under.path("shaped"), { ...HASH, valueSizes: [24, 12] }))).toBe(
        "no error",
      );
    });

    it.each([
      ["an array with 8-byte keys", { ...ARRAY, keySize: 8 }, 4],
      ["a trie without data", { ...TRIE, keySize: 4 }, 4],
      ["a map without room", HASH, 0],
    ] as const)("does not make %s", (_what, shape, maxEntries) => {
      expect(failure(() => under.maker.create("refused", { ...shape, maxEntries }))).toBe("ERR_ONEHOP_KERNEL errno");
    });
  });

  describe("hash", () => {
    it("gives a value by its exact key, replaces and deletes", () => {
      const map = makePinned(under, "hash", HASH);
      const reader = under.kernel.open(under.path("hash"), HASH);
      const value = bytes(12, 0xee);
      expect(reader.lookup(bytes(12, 1), value)).toBe(false);
      expect(value, "untouched on a miss").toEqual(bytes(12, 0xee));
      map.update(bytes(12, 1), bytes(12, 7));
      expect(reader.lookup(bytes(12, 1), value)).toBe(true);
      expect(value).toEqual(bytes(12, 7));
      map.update(bytes(12, 1), bytes(12, 8));
      reader.lookup(bytes(12, 1), value);
      expect(value).toEqual(bytes(12, 8));
      expect(map.delete(bytes(12, 1))).toBe(true);
      expect(map.delete(bytes(12, 1))).toBe(false);
      expect(reader.lookup(bytes(12, 1), value)).toBe(false);
      reader.close();
    });

    it("refuses an insert when full, and still replaces", () => {
      const map = makePinned(under, "full", HASH, 2);
      map.update(bytes(12, 1), bytes(12, 1));
      map.update(bytes(12, 2), bytes(12, 2));
      expect(() => map.update(bytes(12, 3), bytes(12, 3))).toThrow(/E2BIG/);
      expect(failure(() => map.update(bytes(12, 2), bytes(12, 9)))).toBe("no error");
    });
  });

  it("array elements are all there, zero at first, and cannot be deleted", () => {
    const map = makePinned(under, "array", ARRAY, 2);
    const reader = under.kernel.open(under.path("array"), ARRAY);
    const value = bytes(8, 1);
    expect(reader.lookup(new Uint8Array([1, 0, 0, 0]), value)).toBe(true);
    expect(value).toEqual(bytes(8, 0));
    expect(reader.lookup(new Uint8Array([2, 0, 0, 0]), value)).toBe(false);
    expect(() => map.update(new Uint8Array([2, 0, 0, 0]), value)).toThrow(/E2BIG/);
    expect(() => map.delete(new Uint8Array([0, 0, 0, 0]))).toThrow(/EINVAL/);
    reader.close();
  });

  it("an lru_hash makes room instead of refusing", () => {
    const shape = { type: "lru_hash", keySize: 4, valueSizes: [4] } as const;
    const map = makePinned(under, "lru", shape, 4);
    expect(failure(() => Array.from({ length: 64 }, (_, at) => map.update(bytes(4, at), bytes(4, at))))).toBe(
      "no error",
    );
    const reader = under.kernel.open(under.path("lru"), shape);
    const value = bytes(4, 0);
    expect(reader.lookup(bytes(4, 63), value), "the newest is there").toBe(true);
    expect(reader.lookup(bytes(4, 0), value), "the oldest is gone").toBe(false);
    reader.close();
  });

  it("lpm_trie finds the longest prefix, no longer than the key asks for", () => {
    const map = makePinned(under, "trie", TRIE);
    map.update(trieKey(8, [10, 0, 0, 0]), bytes(4, 8));
    map.update(trieKey(24, [10, 1, 2, 0]), bytes(4, 24));
    map.update(trieKey(32, [10, 1, 2, 3]), bytes(4, 32));
    const reader = under.kernel.open(under.path("trie"), TRIE);
    const value = bytes(4, 0);
    const find = (key: Uint8Array): number | undefined => (reader.lookup(key, value) ? value[0] : undefined);
    expect(find(trieKey(32, [10, 1, 2, 3]))).toBe(32);
    expect(find(trieKey(32, [10, 1, 2, 4]))).toBe(24);
    expect(find(trieKey(23, [10, 1, 2, 3]))).toBe(8);
    expect(find(trieKey(7, [10, 1, 2, 3]))).toBeUndefined();
    expect(find(trieKey(32, [11, 1, 2, 3]))).toBeUndefined();
    expect(find(trieKey(33, [10, 1, 2, 3])), "a longer prefix than an address has").toBeUndefined();
    expect(() => map.update(trieKey(33, [10, 1, 2, 3]), value)).toThrow(/EINVAL/);
    expect(map.delete(trieKey(24, [10, 1, 2, 255])), "bits beyond the prefix do not count").toBe(true);
    expect(find(trieKey(32, [10, 1, 2, 4]))).toBe(8);
    reader.close();
  });

  describe("pins", () => {
    it("a replaced pin has a new stamp, and an open reader stays on the old map", () => {
      const path = under.path("replaced");
      const old = makePinned(under, "replaced", HASH);
      old.update(bytes(12, 1), bytes(12, 1));
      const before = under.kernel.pinStamp(path);
      expect(under.kernel.pinStamp(path), "stable while nothing happens").toBe(before);
      const oldReader = under.kernel.open(path, HASH);
      makePinned(under, "replaced", HASH);
      expect(under.kernel.pinStamp(path)).not.toBe(before);
      const newReader = under.kernel.open(path, HASH);
      expect(newReader.info.id).toBeGreaterThan(oldReader.info.id);
      const value = bytes(12, 0);
      expect(newReader.lookup(bytes(12, 1), value)).toBe(false);
      old.close();
      expect(oldReader.lookup(bytes(12, 1), value)).toBe(true);
      oldReader.close();
      newReader.close();
    });

    it("an unpinned map is gone for new readers only; unpinning again is harmless", () => {
      const path = under.path("unpinned");
      makePinned(under, "unpinned", HASH).update(bytes(12, 1), bytes(12, 1));
      const reader = under.kernel.open(path, HASH);
      under.maker.unpin(path);
      under.maker.unpin(path);
      expect(under.kernel.pinStamp(path)).toBeUndefined();
      expect(failure(() => under.kernel.open(path, HASH))).toBe("ERR_ONEHOP_KERNEL no-pin");
      expect(reader.lookup(bytes(12, 1), bytes(12, 0))).toBe(true);
      reader.close();
    });

    it("one map can be pinned twice", () => {
      const map = makePinned(under, "first", HASH);
      under.maker.pin(map, under.path("second"));
      const ids = ["first", "second"].map((name) => under.kernel.open(under.path(name), HASH).info.id);
      expect(ids).toEqual([map.info.id, map.info.id]);
    });
  });

  it("refuses buffers of a wrong size before the kernel sees them", () => {
    const map = makePinned(under, "sizes", HASH);
    const reader = under.kernel.open(under.path("sizes"), HASH);
    expect(() => reader.lookup(bytes(11, 0), bytes(12, 0))).toThrow(RangeError);
    expect(() => reader.lookup(bytes(12, 0), bytes(13, 0))).toThrow(
      /value must have exactly 12 bytes, this one has 13/,
    );
    expect(() => map.update(bytes(12, 0), bytes(4, 0))).toThrow(RangeError);
    expect(() => map.delete(bytes(0, 0))).toThrow(RangeError);
    reader.close();
  });

  it("use after close fails as closed; closing again does nothing", () => {
    const map = makePinned(under, "closed", HASH);
    const reader = under.kernel.open(under.path("closed"), HASH);
    reader.close();
    reader.close();
    map.close();
    map.close();
    const key = bytes(12, 0);
    for (const action of [
      () => reader.lookup(key, key),
      () => map.update(key, key),
      () => map.delete(key),
      () => under.maker.pin(map, under.path("closed2")),
    ]) {
      expect(failure(action)).toBe("ERR_ONEHOP_KERNEL closed");
    }
  });
}

/** A reproducible sequence of operations on a small key space, and what each came to. */
export function randomHistory(under: KernelUnderTest, shape: MapShape, seed: number, length: number): string[] {
  const random = seededRandom(seed);
  const name = `random_${shape.type}_${seed}`;
  const map = makePinned(under, name, shape, 24);
  const reader = under.kernel.open(under.path(name), shape);
  const value = new Uint8Array(map.info.valueSize);
  const history = Array.from({ length }, () => {
    const key = shape.type === "lpm_trie" ? randomPrefix(random) : bytes(shape.keySize, Math.floor(random() * 32));
    const kind = random();
    if (kind < 0.4)
      return `update ${key}: ${failure(() => map.update(key, bytes(value.length, Math.floor(random() * 256))))}`;
    if (kind < 0.55) return `delete ${key}: ${map.delete(key)}`;
    return `lookup ${key}: ${reader.lookup(key, value)} ${value}`;
  });
  reader.close();
  map.close();
  return history;
}

/** Prefixes of few distinct bits, so that they nest and meet often. */
function randomPrefix(random: Random): Uint8Array {
  const length = Math.floor(random() * 33);
  return trieKey(
    length,
    Array.from({ length: 4 }, () => (random() < 0.7 ? 0 : Math.floor(random() * 256))),
  );
}
