import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));

/** The trap ids that titles of tests name. */
function guardedByTests(): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".test.ts") || file.startsWith("lint/")) continue;
    for (const [, title] of readFileSync(join(folder, file), "utf8").matchAll(
      /(?:it|test|describe\w*)(?:\.each\([\s\S]*?\))?\(\s*["'`]([^"'`]*)/g,
    )) {
      for (const [id] of (title ?? "").matchAll(/T-\d\d/g)) ids.add(id);
    }
  }
  return ids;
}

/** Each trap of the list, with its column "guarded". */
function listed(): ReadonlyMap<string, boolean> {
  const rows = readFileSync(join(folder, "TRAPS.md"), "utf8").matchAll(/^\| (T-\d\d) \|.*\| (?:(yes|in part) )?\|$/gm);
  return new Map([...rows].map(([, id = "", yes]) => [id, yes !== undefined]));
}

describe("test/TRAPS.md", () => {
  it("lists each of the 67 traps once", () => {
    const ids = [...listed().keys()].sort();
    expect(ids).toEqual(Array.from({ length: 67 }, (_, index) => `T-${String(index + 1).padStart(2, "0")}`));
  });

  it("says of each trap truly whether a test names it", () => {
    const said = [...listed()].filter(([, isGuarded]) => isGuarded).map(([id]) => id);
    expect(said.sort()).toEqual([...guardedByTests()].sort());
  });
});
