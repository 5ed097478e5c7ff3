import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFakeKernel } from "../../src/kernel/fake-kernel.js";
import { bytes, failure, HASH, TRIE, trieKey } from "../support/kernel-conformance.js";

/** A trie key as text of bits: the naive view. */
const prefix = fc.record({
  length: fc.integer({ min: 0, max: 32 }),
  // Few distinct addresses, so that prefixes nest and meet.
  data: fc.tuple(
    fc.constantFrom(0, 10, 11, 128),
    fc.constantFrom(0, 1, 255),
    fc.constantFrom(0, 3),
    fc.constantFrom(0, 7),
  ),
});
type Prefix = typeof prefix extends fc.Arbitrary<infer Value> ? Value : never;

const bitsOf = ({ length, data }: Prefix): string =>
  data
    .map((byte) => byte.toString(2).padStart(8, "0"))
    .join("")
    .slice(0, length);

const operation = fc.oneof(
  fc.record({ kind: fc.constant("update" as const), prefix, fill: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ kind: fc.constant("delete" as const), prefix }),
  fc.record({ kind: fc.constant("lookup" as const), prefix }),
);

describe("the fake kernel against naive models", () => {
  it("lpm_trie answers as a search over all prefixes does", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const fake = createFakeKernel();
        const map = fake.create("trie", { ...TRIE, maxEntries: 1000 });
        fake.pin(map, "/trie");
        const reader = fake.open("/trie", TRIE);
        const model = new Map<string, number>();
        const value = new Uint8Array(4);
        for (const step of operations) {
          const key = trieKey(step.prefix.length, step.prefix.data);
          const bits = bitsOf(step.prefix);
          if (step.kind === "update") {
            map.update(key, bytes(4, step.fill));
            model.set(bits, step.fill);
          } else if (step.kind === "delete") {
            expect(map.delete(key)).toBe(model.delete(bits));
          } else {
            const best = [...model.keys()]
              .filter((known) => bits.startsWith(known))
              .sort((a, b) => b.length - a.length)[0];
            expect(reader.lookup(key, value)).toBe(best !== undefined);
            if (best !== undefined) expect(value).toEqual(bytes(4, model.get(best) ?? -1));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it("hash answers as a map of exact keys with a limit does", () => {
    const key = fc.uint8Array({ minLength: 12, maxLength: 12, max: 1 });
    const step = fc.record({
      kind: fc.constantFrom("update", "delete", "lookup"),
      key,
      fill: fc.integer({ min: 0, max: 255 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const fake = createFakeKernel();
        const map = fake.create("hash", { ...HASH, maxEntries: 8 });
        fake.pin(map, "/hash");
        const reader = fake.open("/hash", HASH);
        const model = new Map<string, number>();
        const value = new Uint8Array(12);
        for (const { kind, key: at, fill } of steps) {
          const text = at.join();
          if (kind === "update") {
            const fits = model.has(text) || model.size < 8;
            expect(failure(() => map.update(at, bytes(12, fill)))).toBe(fits ? "no error" : "ERR_ONEHOP_KERNEL errno");
            if (fits) model.set(text, fill);
          } else if (kind === "delete") {
            expect(map.delete(at)).toBe(model.delete(text));
          } else {
            expect(reader.lookup(at, value)).toBe(model.has(text));
            if (model.has(text)) expect(value).toEqual(bytes(12, model.get(text) ?? -1));
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
