import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Folder of the compiled package, as a URL that ends with a slash: `dist`, where it is newer than every source, else
 * compiled anew into a cache of its own.
 */
export function builtPackage(): string {
  const dist = join(ROOT, "dist");
  const folder = isNewer(join(dist, "index.js"), join(ROOT, "src")) ? dist : compile();
  return `${pathToFileURL(folder).href}/`;
}

function compile(): string {
  const folder = join(ROOT, "node_modules/.cache/onehop-test-build");
  if (isNewer(join(folder, "index.js"), join(ROOT, "src"))) return folder;
  mkdirSync(folder, { recursive: true });
  // The scope of the package's own package.json ends at node_modules.
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", join(ROOT, "tsconfig.json"), "--outDir", folder], { stdio: "inherit" });
  return folder;
}

function isNewer(file: string, folder: string): boolean {
  if (!existsSync(file)) return false;
  const compiledAt = statSync(file).mtimeMs;
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).every(
    (name) => statSync(join(folder, name)).mtimeMs <= compiledAt,
  );
}
