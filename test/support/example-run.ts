import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** How an example is run. */
export interface ExampleOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Another user to run as; takes root. */
  readonly uid?: number;
  /** Ends it when it takes longer, in milliseconds. Default 30,000. */
  readonly limitMs?: number;
  /** Sees the output so far each time there is more; `signal` reaches the process. */
  readonly onOutput?: (stdout: string, run: { readonly pid: number; signal(name: NodeJS.Signals): void }) => void;
}

/** What came of it. */
export interface ExampleOutcome {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

/** Runs a script below `examples/` in a process of its own, as a user does after a build. */
export function runExample(script: string, options: ExampleOptions = {}): Promise<ExampleOutcome> {
  const { args = [], env = {}, uid, limitMs = 30_000, onOutput } = options;
  const startedAt = performance.now();
  const child = spawn(process.execPath, [`examples/${script}`, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  return new Promise((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
      onOutput?.(stdout, { pid: child.pid ?? 0, signal: (name) => child.kill(name) });
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
    child.on("error", reject);
    child.on("close", (exitCode) => {
      clearTimeout(limit);
      resolve({ exitCode, stdout, stderr, tookMs: performance.now() - startedAt });
    });
  });
}
