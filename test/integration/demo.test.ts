import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTerminal } from "../../examples/demo/terminal.js";
import { ensureBuild } from "../support/build.js";
import { type ExampleOptions, type ExampleOutcome, runExample } from "../support/example-run.js";
import { kernelGate } from "../support/kernel-gate.js";

interface DemoResult {
  readonly kernel: string;
  readonly calls: number;
  readonly failed: number;
  readonly retries: number;
  readonly perCluster: Readonly<Record<string, number>>;
  readonly phases: readonly { name: string; calls: number; failed: number; p50Ms: number; p95Ms: number }[];
}

const isRoot = process.geteuid?.() === 0;
const NOBODY = 65_534;
const LIMIT_MS = 30_000;

/** Where the demo may leave nothing behind. */
const temporary: string[] = [];

function runDemo(options: ExampleOptions): Promise<ExampleOutcome> {
  const directory = mkdtempSync(join(tmpdir(), "onehop-demo-test-"));
  chmodSync(directory, 0o777); // for the run as nobody
  temporary.push(directory);
  return runExample("demo/main.js", { ...options, env: { ...options.env, TMPDIR: directory }, limitMs: LIMIT_MS });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function checkResult({ exitCode, stdout, stderr, tookMs }: ExampleOutcome): DemoResult {
  expect(stderr).toBe("");
  expect(exitCode).toBe(0);
  expect(tookMs).toBeLessThan(LIMIT_MS);
  expect(stdout.trim().split("\n")).toHaveLength(1);
  const result = JSON.parse(stdout) as DemoResult;
  expect(Object.keys(result).sort()).toEqual(["calls", "failed", "kernel", "perCluster", "phases", "retries"]);
  expect(result.calls).toBeGreaterThanOrEqual(500);
  expect(result.failed).toBe(0);
  // Each call of the last two phases meets a dead cluster first.
  expect(result.retries).toBeGreaterThan(0);
  expect(Object.keys(result.perCluster)).toEqual(["eu-west-1", "eu-central-1", "gke-eu"]);
  for (const answers of Object.values(result.perCluster)) expect(answers).toBeGreaterThan(0);
  expect(sum(Object.values(result.perCluster))).toBe(result.calls);
  expect(result.phases.map(({ name }) => name)).toEqual([
    "steady",
    "a pod fails",
    "a pod hangs",
    "a pod IP is recycled",
    "own cluster killed",
    "second cluster killed",
  ]);
  expect(sum(result.phases.map(({ calls }) => calls))).toBe(result.calls);
  for (const { calls, failed, p50Ms, p95Ms } of result.phases) {
    expect(calls).toBeGreaterThan(0);
    expect(failed).toBe(0);
    expect(p50Ms).toBeGreaterThan(0);
    expect(p95Ms).toBeGreaterThanOrEqual(p50Ms);
  }
  return result;
}

/** Whether the process runs; one that has ended and waits to be collected does not. */
function isRunning(pid: string): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("demo", () => {
  let asIs: ExampleOutcome;
  let simulated: ExampleOutcome;
  let asNobody: ExampleOutcome | undefined;

  beforeAll(async () => {
    ensureBuild();
    [asIs, simulated, asNobody] = await Promise.all([
      runDemo({ args: ["--json"] }),
      runDemo({ args: ["--json"], env: { ONEHOP_DEMO_KERNEL: "simulated", ONEHOP_DEMO_NETWORK: "ports" } }),
      isRoot ? runDemo({ args: ["--json"], uid: NOBODY }) : undefined,
    ]);
  }, 2 * LIMIT_MS);

  afterAll(() => {
    for (const directory of temporary) rmSync(directory, { recursive: true, force: true });
  });

  it("uses real kernel maps where it may, and no call fails", () => {
    expect(checkResult(asIs).kernel).toBe(kernelGate().run ? "real" : "simulated");
  });

  it("does the same with maps in memory and with ports of 127.0.0.1", () => {
    expect(checkResult(simulated).kernel).toBe("simulated");
  });

  it("runs as an ordinary user", () => {
    if (asNobody === undefined) console.warn("not root: the first run is that of an ordinary user");
    expect(checkResult(asNobody ?? asIs).kernel).toBe("simulated");
  });

  it("tells live who answers, and ends its clusters and its mount at Ctrl-C", async () => {
    let children: readonly string[] = [];
    const { exitCode, stdout } = await runDemo({
      onOutput(text, run) {
        if (!text.includes("answered: ") || children.length > 0) return;
        if (process.platform === "linux") {
          children = readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, "utf8").trim().split(" ");
        }
        run.signal("SIGINT");
      },
    });
    expect(exitCode).toBe(130);
    expect(stdout).toMatch(/answered: .*eu-west-1\/quotes-1[abc] \(70247\) \d+/);
    if (process.platform === "linux") expect(children).toHaveLength(3);
    await expect.poll(() => children.filter(isRunning), { timeout: 5_000 }).toEqual([]);
  });

  it("leaves nothing behind", () => {
    expect(temporary.flatMap((directory) => readdirSync(directory))).toEqual([]);
  });
});

describe("the demo's picture", () => {
  const row = { cluster: "eu-west-1", pod: "quotes-1a", address: "127.0.1.11", identity: 70_247 };
  const ESC = String.fromCharCode(27);

  function pictures(noColour: string | undefined): string {
    const before = process.env["NO_COLOR"];
    if (noColour === undefined) delete process.env["NO_COLOR"];
    else process.env["NO_COLOR"] = noColour;
    let written = "";
    const stream = { isTTY: true, columns: 64, write: (text: string) => (written += text) };
    const terminal = createTerminal(stream as never);
    terminal.phase("1/6 steady", "all is well");
    terminal.show([{ ...row, answers: 7, recent: 3, mood: "used" }], { calls: 7, failed: 0, retries: 1 });
    terminal.show([{ ...row, answers: 9, recent: 2, mood: "refused" }], { calls: 9, failed: 0, retries: 1 });
    terminal.close();
    if (before === undefined) delete process.env["NO_COLOR"];
    else process.env["NO_COLOR"] = before;
    return written;
  }

  it("is drawn over the one before, in colours, no line wider than the terminal", () => {
    const written = pictures(undefined);
    expect(written).toContain(`${ESC}[32m● eu-west-1     quotes-1a   127.0.1.11      70247       7  ███`);
    const [first = "", second = ""] = written.split(`${ESC}[J`);
    const lines = first.split("\n").length - 1;
    expect(first.endsWith(`${ESC}[${lines}A`)).toBe(true);
    expect(second).toContain("⊘ eu-west-1");
    const visible = written.replaceAll(new RegExp(`${ESC}\\[[0-9;?]*[A-Za-z]`, "g"), "");
    expect(Math.max(...visible.split("\n").map((line) => line.length))).toBeLessThan(64);
    expect(written.endsWith(`${ESC}[?25h`)).toBe(true);
  });

  it("has no colours with NO_COLOR", () => {
    expect(pictures("1")).not.toMatch(new RegExp(`${ESC}\\[\\d+m`));
  });
});
