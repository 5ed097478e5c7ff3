import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe("ARCHITECTURE.md", () => {
  it("has a line on each file of src, and on no other", () => {
    const listed = [...readFileSync(`${root}ARCHITECTURE.md`, "utf8").matchAll(/^\| `(src\/[^`]+\.ts)` \| .+ \|$/gm)];
    const files = readdirSync(`${root}src`, { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".ts"),
    );
    expect(listed.map(([, file]) => file).sort()).toEqual(files.map((file) => `src/${file}`).sort());
  });
});
