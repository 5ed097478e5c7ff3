import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { CiliumVersionName } from "../../src/cilium/cilium-versions.js";
import type { StormLog } from "./storm-plan.js";

/** What the writing process is to do. */
export interface StormOrder {
  readonly directory: string;
  readonly version: CiliumVersionName;
  /** Changed elements at least. */
  readonly changes: number;
  /** How long at least, in milliseconds. */
  readonly leastMs: number;
  readonly seed: number;
}

export interface StormReport {
  readonly operations: number;
  /** Elements that came, went, or got other bytes. */
  readonly changes: number;
  /** How often all maps were replaced. */
  readonly swaps: number;
  readonly log: StormLog;
}

export interface StormProcess {
  /** Resolves when the storm is over. */
  readonly done: Promise<StormReport>;
  /** Ends the process. Idempotent. */
  stop(): void;
}

/** Milliseconds of CLOCK_MONOTONIC, which is the same in all processes of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Starts the writing process; resolves when every service has its first pods. */
export async function startStorm(order: StormOrder): Promise<StormProcess> {
  const loader = new URL("./typescript-loader.mjs", import.meta.url).href;
  const child = fork(fileURLToPath(new URL("./storm-writer.ts", import.meta.url)), {
    execArgv: ["--import", loader],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced", // Infinity is no JSON.
  });
  let ready: () => void = () => undefined;
  const isReady = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const done = new Promise<StormReport>((resolve, reject) => {
    child.on("message", (message: { kind: "ready" } | { kind: "done"; report: StormReport }) => {
      if (message.kind === "ready") ready();
      else resolve(message.report);
    });
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`the storm ended early (${code ?? signal})`)));
  });
  done.catch(() => undefined);
  child.send(order);
  await Promise.race([isReady, done]);
  return { done, stop: () => void child.kill("SIGKILL") };
}
