import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuild } from "../support/build.js";

// The README's code blocks are compiled as a user's project would compile them, and those marked "run" are run.

const root = fileURLToPath(new URL("../..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/<!-- readme: (types|run) -->\n```ts\n([\s\S]*?)```/g)].map(([, kind, code]) => ({
  kind,
  code: code ?? "",
}));
let project = "";

beforeAll(() => {
  ensureBuild();
  project = mkdtempSync(join(tmpdir(), "onehop-readme-"));
  mkdirSync(join(project, "node_modules"));
  symlinkSync(root, join(project, "node_modules/onehop"));
  writeFileSync(join(project, "package.json"), '{ "name": "reader", "type": "module", "private": true }');
  for (const [index, { code }] of blocks.entries()) writeFileSync(join(project, `block-${index}.mts`), code);
  const compilerOptions = {
    module: "nodenext",
    target: "es2023",
    lib: ["es2023", "esnext.disposable"],
    strict: true,
    noEmit: true,
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
  };
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.mts"] }));
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("README", () => {
  it("opens with the two commands that package.json has", () => {
    const first = /```sh\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
    const commands = first
      .split("\n")
      .filter(Boolean)
      .map((line) => line.replace(/ {2,}#.*$/, ""));
    expect(commands).toEqual(["npm ci && npm run demo", "npm ci && npm test"]);
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(["demo", "test"]));
  });

  it("marks every ts block as types or run", () => {
    expect(blocks.length).toBe([...readme.matchAll(/^```ts$/gm)].length);
    expect(blocks.filter(({ kind }) => kind === "run")).not.toHaveLength(0);
  });

  it("has blocks that compile under strict", () => {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const run = spawnSync(process.execPath, [tsc, "-p", project], { encoding: "utf8" });
    expect(run.stdout + run.stderr).toBe("");
    expect(run.status).toBe(0);
  });

  it.each(blocks.filter(({ kind }) => kind === "run"))("runs what it says it runs", ({ code }) => {
    writeFileSync(join(project, "run.mjs"), code);
    const run = spawnSync(process.execPath, [join(project, "run.mjs")], { encoding: "utf8", timeout: 20_000 });
    expect(run.stderr).toBe("");
    expect(run.stdout).toBe("endpoints 127.0.0.1 active, in the nearest tier\n");
    expect(run.status).toBe(0);
  });
});
