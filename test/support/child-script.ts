import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** What a child process did. */
export interface ChildOutcome {
  /** Undefined when it had to be ended after `limitMs`. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a script as a process of its own. It imports sources as `${src}/dns/resolver.js`, where `src` is a constant that
 * it is given, and data as the constant `input`.
 */
export function runChild(script: string, input: unknown, limitMs = 15_000): Promise<ChildOutcome> {
  const loader = new URL("./typescript-loader.mjs", import.meta.url).href;
  const src = new URL("../../src", import.meta.url).href;
  const source = `const src = ${JSON.stringify(src)}; const input = ${JSON.stringify(input)};\n${script}`;
  const child = spawn(process.execPath, ["--import", loader, "--input-type=module", "--eval", source], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Promise((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    let isLate = false;
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const limit = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, limitMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(limit);
      resolve({ exitCode: isLate ? undefined : (code ?? -1), stdout, stderr });
    });
  });
}
