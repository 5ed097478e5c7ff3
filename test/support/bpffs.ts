import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A bpffs of this test alone. */
export interface Bpffs {
  readonly directory: string;
  /** Of a pin in it. bpffs takes no names with a dot. */
  path(name: string): string;
  /** Takes all pins with it. Idempotent; also runs at exit. */
  unmount(): void;
}

/** Mounts a bpffs on a new temporary directory. */
export function mountBpffs(): Bpffs {
  const directory = mkdtempSync(join(tmpdir(), "onehop-bpffs-"));
  execFileSync("mount", ["-t", "bpf", "bpf", directory]);
  let isMounted = true;
  function unmount(): void {
    if (!isMounted) return;
    isMounted = false;
    process.off("exit", unmount);
    execFileSync("umount", [directory]);
    rmdirSync(directory);
  }
  process.once("exit", unmount);
  return { directory, path: (name) => join(directory, name), unmount };
}
