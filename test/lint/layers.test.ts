import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// A rule that catches nothing is no rule: each one is shown a planted violation in a copy of the sources.

const root = fileURLToPath(new URL("../..", import.meta.url));
let copy = "";

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "onehop-lint-"));
  cpSync(join(root, "src"), join(copy, "src"), { recursive: true });
  mkdirSync(join(copy, "test/lint"), { recursive: true });
  cpSync(join(root, "test/lint/clock-and-chance.grit"), join(copy, "test/lint/clock-and-chance.grit"));
  cpSync(join(root, ".biome.json"), join(copy, ".biome.json"));
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

function lint(path: string, text: string): { readonly status: number | null; readonly output: string } {
  const file = join(copy, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  const biome = join(root, "node_modules/@biomejs/biome/bin/biome");
  const run = spawnSync(process.execPath, [biome, "lint", "--vcs-enabled=false", "--max-diagnostics=200", path], {
    cwd: copy,
    encoding: "utf8",
  });
  rmSync(file);
  return { status: run.status, output: run.stdout + run.stderr };
}

describe("lint", () => {
  it("accepts a file that keeps the rules", () => {
    const { status, output } = lint(
      "src/policy/planted.ts",
      'import type { Endpoint } from "../model/endpoint.js";\nexport function f(e: Endpoint): string {\n  return e.key;\n}\n',
    );
    expect(output).not.toContain("×");
    expect(status).toBe(0);
  });

  const forbidden: readonly (readonly [folder: string, specifier: string, says: string])[] = [
    ["model", "../cilium/protocol.js", "lowest layer"],
    ["model", "node:fs", "no I/O"],
    ["cilium", "../policy/backoff.js", "src/cilium is pure"],
    ["cilium", "koffi", "no third-party import"],
    ["policy", "../kernel/kernel.js", "src/policy is pure"],
    ["policy", "../discovery/discovery.js", "src/policy is pure"],
    ["kernel", "../cilium/cilium-maps.js", "knows nothing of Cilium"],
    ["kernel", "../discovery/discovery.js", "knows nothing of Cilium"],
    ["dns", "../discovery/discovery.js", "src/dns"],
    ["discovery", "../balance/picker.js", "src/discovery sits on"],
    ["balance", "../call/call.js", "src/balance sits on"],
    ["call", "../http/http-call.js", "protocol-free"],
    ["http", "../mesh.js", "src/http sits on"],
    ["http", "../testing/cilium-agent.js", "src/http sits on"],
  ];
  it.each(forbidden)("src/%s may not import %s", (folder, specifier, says) => {
    const { status, output } = lint(
      `src/${folder}/planted.ts`,
      `import * as planted from "${specifier}";\nexport const p: unknown = planted;\n`,
    );
    expect(output).toContain("noRestrictedImports");
    expect(output).toContain(says);
    expect(status).not.toBe(0);
  });

  it.each([["Date.now()"], ["Math.random()"], ["performance.now()"], ["new Date()"]])(
    "%s is for src/clock.ts and src/random.ts only",
    (call) => {
      const { status, output } = lint("src/discovery/planted.ts", `export const p: unknown = ${call};\n`);
      expect(output).toContain("Clock and chance come in as arguments");
      expect(status).not.toBe(0);
    },
  );

  it.each([["setTimeout"], ["setInterval"], ["setImmediate"]])("%s is for src/clock.ts only", (timer) => {
    const { status, output } = lint("src/http/planted.ts", `export const p: unknown = ${timer};\n`);
    expect(output).toContain("Use the Clock that came in as an argument");
    expect(status).not.toBe(0);
  });

  it("import cycles are errors", () => {
    writeFileSync(
      join(copy, "src/policy/planted-other.ts"),
      'import { planted } from "./planted.js";\nexport const other: unknown = planted;\n',
    );
    const { status, output } = lint(
      "src/policy/planted.ts",
      'import { other } from "./planted-other.js";\nexport const planted: unknown = other;\n',
    );
    rmSync(join(copy, "src/policy/planted-other.ts"));
    expect(output).toContain("noImportCycles");
    expect(status).not.toBe(0);
  });

  it("a file has at most 400 lines", () => {
    const { status, output } = lint("src/policy/planted.ts", "export const a = 1;\n".replace("a", "x").repeat(401));
    expect(output).toContain("noExcessiveLinesPerFile");
    expect(status).not.toBe(0);
  });
});
