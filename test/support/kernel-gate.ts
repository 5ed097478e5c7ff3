import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "vitest";

/** Whether the tests that need a real kernel can run here. */
export interface KernelGate {
  readonly run: boolean;
  /** Why not; empty when they can. */
  readonly reason: string;
}

const CAP_SYS_ADMIN = 21n;
const CAP_BPF = 39n;

function obstacle(): string {
  if (process.platform !== "linux") return `bpf(2) is Linux only, this is ${process.platform}`;
  if (process.geteuid?.() !== 0) return "not root";
  const status = readFileSync("/proc/self/status", "utf8");
  const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  if ((capabilities & (1n << CAP_SYS_ADMIN)) === 0n) return "no CAP_SYS_ADMIN to mount a bpffs";
  if ((capabilities & (1n << CAP_BPF)) === 0n) return "no CAP_BPF to make maps";
  if (!/\tbpf$/m.test(readFileSync("/proc/filesystems", "utf8"))) return "this kernel has no bpffs";
  if (!existsSync(new URL("../../node_modules/koffi", import.meta.url))) return "koffi is not installed";
  return "";
}

/** Looks what this process may do. */
export function kernelGate(): KernelGate {
  const reason = obstacle();
  return { run: reason === "", reason };
}

/**
 * A suite that needs root, bpf(2) and a mountable bpffs. Elsewhere it is skipped with the reason printed; with
 * `ONEHOP_REQUIRE_KERNEL=1` it fails instead.
 */
export function describeKernel(name: string, suite: () => void): void {
  const { run, reason } = kernelGate();
  if (run) {
    describe(name, suite);
  } else if (process.env["ONEHOP_REQUIRE_KERNEL"] === "1") {
    it(name, () => {
      throw new Error(`ONEHOP_REQUIRE_KERNEL=1, and the kernel tests cannot run: ${reason}`);
    });
  } else {
    console.warn(`skipped: ${name}: ${reason}`);
    describe.skip(`${name} (skipped: ${reason})`, suite);
  }
}
