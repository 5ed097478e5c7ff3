import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureBuild } from "../support/build.js";

// The package as a user gets it: packed, installed in an empty folder, called from there.

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder = "";

function npm(cwd: string, ...args: readonly string[]): string {
  const run = spawnSync("npm", [...args, "--loglevel=error"], { cwd, encoding: "utf8", timeout: 150_000 });
  if (run.status !== 0) throw new Error(`npm ${args.join(" ")} failed:\n${run.stdout}${run.stderr}`);
  return run.stdout;
}

beforeAll(() => {
  ensureBuild();
  folder = mkdtempSync(join(tmpdir(), "onehop-package-"));
  npm(root, "pack", "--pack-destination", folder);
  const [tarball = ""] = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), '{ "name": "app", "version": "1.0.0", "type": "module" }');
  npm(folder, "install", "--prefer-offline", "--no-audit", "--no-fund", `./${tarball}`);
}, 200_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(
  name: string,
  code: string,
): { readonly output: string; readonly status: number | null; readonly ms: number } {
  writeFileSync(join(folder, name), code);
  const began = performance.now();
  const { stdout, stderr, status } = spawnSync(process.execPath, [name], {
    cwd: folder,
    encoding: "utf8",
    timeout: 20_000,
  });
  return { output: stdout + stderr, status, ms: performance.now() - began };
}

const POD = `
import { createServer } from "node:http";
const pod = createServer((_, response) => response.end("42"));
await new Promise((resolve) => pod.listen(0, "127.0.0.1", resolve));
const port = pod.address().port;
`;

describe("the packed package", () => {
  it("makes a call in three lines, and the process exits by itself", () => {
    const { output, status } = run(
      "call.js",
      `${POD}
import { createMesh } from "onehop";
const mesh = createMesh({ addresses: { "quotes.energy": ["127.0.0.1"] }, services: { "quotes.energy": {} } });
console.log(await (await mesh.fetch("http://quotes.energy:" + port + "/v1/quotes")).text());
pod.close(); pod.closeAllConnections();
`,
    );
    expect(output).toBe("42\n");
    expect(status).toBe(0);
  });

  it("works without koffi, and says that it is missing when the maps are wanted", () => {
    const { output, status } = run(
      "no-koffi.js",
      `${POD}
import { createMesh } from "onehop";
const mesh = createMesh({ addresses: { "quotes.energy": ["127.0.0.1"] }, services: { "quotes.energy": {} } });
mesh.on("discovery", ({ state, error }) => console.log(state, error?.reason, error?.message.includes("npm install koffi")));
await (await mesh.fetch("http://quotes.energy:" + port)).text();
pod.close(); pod.closeAllConnections();
`,
    );
    expect(output).toBe("service-address no-koffi true\n");
    expect(status).toBe(0);
  });

  it("can be required by CommonJS", () => {
    const { output, status } = run(
      "common.cjs",
      'const { createMesh } = require("onehop"); const { staticDiscovery } = require("onehop/discovery"); console.log(typeof createMesh, typeof staticDiscovery);',
    );
    expect(output.split("\n")[0]).toBe("function function");
    expect(status).toBe(0);
  });

  it("does nothing when it is imported", () => {
    const { output, status } = run(
      "import.js",
      'import "onehop"; import "onehop/discovery"; console.log(process.getActiveResourcesInfo().filter((name) => /Timeout|TCP|UDP|FSEvent/.test(name)).length);',
    );
    expect(output).toBe("0\n");
    expect(status).toBe(0);
  });

  it("holds no tests, no test doubles and no source maps of files it does not hold", () => {
    const files = readdirSync(join(folder, "node_modules/onehop"), { recursive: true, encoding: "utf8" });
    expect(files).toEqual(
      expect.arrayContaining(["LICENSE", "README.md", "dist/index.js", "dist/index.d.ts", "bpf/cilium_maps.h"]),
    );
    expect(files.filter((file) => /^(test|src|examples)\b|^dist\/testing|\.map$/.test(file))).toEqual([]);
  });
});
