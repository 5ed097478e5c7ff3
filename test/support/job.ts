import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** What a job did. */
export interface JobOutcome {
  /** Undefined when it had to be ended. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** From its last line of output to its end, in milliseconds. */
  readonly lingeredMs: number;
}

/**
 * Runs a module as a process of its own, with the text of `input` as the constant of that name and the folder of the
 * compiled package as `onehop`.
 */
export function runJob(
  onehop: string,
  script: string,
  input: unknown,
  { node = process.execPath, limitMs = 15_000 }: { readonly node?: string; readonly limitMs?: number } = {},
): Promise<JobOutcome> {
  const source = `const onehop = ${JSON.stringify(onehop)}; const input = ${JSON.stringify(input)};\n${script}`;
  const child = spawn(node, ["--input-type=module", "--eval", source], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Promise((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    let lastOutputAt = performance.now();
    let endedAt: number | undefined;
    let isLate = false;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      lastOutputAt = performance.now();
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const limit = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, limitMs);
    child.on("error", reject);
    child.on("exit", () => {
      endedAt = performance.now();
    });
    child.on("close", (code) => {
      clearTimeout(limit);
      const lingeredMs = (endedAt ?? performance.now()) - lastOutputAt;
      resolve({ exitCode: isLate ? undefined : (code ?? -1), stdout, stderr, lingeredMs });
    });
  });
}
