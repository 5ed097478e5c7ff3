import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** src/kernel as JavaScript, with koffi beside it, for child processes that run as another user or with flags. */
export interface CompiledKernel {
  /** Holds `kernel/*.js`; readable for every user. */
  readonly directory: string;
  remove(): void;
}

/** Strips the types of src/kernel and of what it imports into a temporary directory. */
export function compileKernel(): CompiledKernel {
  const directory = mkdtempSync(join(tmpdir(), "onehop-kernel-"));
  mkdirSync(join(directory, "kernel"));
  const kernelFiles = readdirSync(join(root, "src/kernel")).map((file) => `kernel/${file}`);
  for (const file of ["errors.ts", "random.ts", ...kernelFiles]) {
    const { outputText } = ts.transpileModule(readFileSync(join(root, "src", file), "utf8"), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true },
    });
    writeFileSync(join(directory, file.replace(/\.ts$/, ".js")), outputText);
  }
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
  for (const dependency of ["koffi", "@koromix"]) {
    cpSync(join(root, "node_modules", dependency), join(directory, "node_modules", dependency), { recursive: true });
  }
  chmodSync(directory, 0o755); // mkdtemp makes it 0700
  return { directory, remove: () => rmSync(directory, { recursive: true, force: true }) };
}
