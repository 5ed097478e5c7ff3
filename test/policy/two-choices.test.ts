import { describe, expect, it } from "vitest";
import { twoChoices } from "../../src/policy/two-choices.js";
import { seededRandom } from "../../src/random.js";

/** Gives the numbers in turn, then fails. */
function scripted(...numbers: number[]): () => number {
  return () => {
    const next = numbers.shift();
    if (next === undefined) throw new Error("drew more numbers than expected");
    return next;
  };
}

describe("twoChoices", () => {
  it("has nothing to choose from none or one", () => {
    const never = (): number => {
      throw new Error("must not be asked");
    };
    expect(twoChoices([], never, never)).toBeUndefined();
    expect(twoChoices(["a"], never, never)).toBe("a");
  });

  it("takes the cheaper of the two drawn", () => {
    const cost = (name: string): number => ({ a: 3, b: 2, c: 1 })[name] ?? 0;
    expect(twoChoices(["a", "b", "c"], cost, scripted(0, 0))).toBe("b");
    expect(twoChoices(["a", "b", "c"], cost, scripted(0.4, 0))).toBe("b");
    expect(twoChoices(["a", "b", "c"], cost, scripted(0.4, 0.9))).toBe("c");
  });

  it("takes the first drawn where both cost the same", () => {
    expect(twoChoices(["a", "b", "c"], () => 1, scripted(0.9, 0))).toBe("c");
    expect(twoChoices(["a", "b", "c"], () => 1, scripted(0, 0.9))).toBe("a");
  });

  it("always compares two candidates, and never picks the dearest of all", () => {
    const random = seededRandom(4);
    for (let pick = 0; pick < 10_000; pick++) {
      expect(twoChoices([9, 1, 2, 3], (cost) => cost, random)).not.toBe(9);
    }
  });
});
