import { closeSync, readFileSync, statfsSync, statSync } from "node:fs";
import { release } from "node:os";

/** What stat(2) says of a path. */
export interface PathStatus {
  readonly device: bigint;
  readonly inode: bigint;
  /** When the inode last changed, in nanoseconds. */
  readonly changedNs: bigint;
  /** Permission bits only. */
  readonly mode: number;
  readonly userId: number;
  readonly groupId: number;
  readonly isFile: boolean;
}

/** Who this process is to the kernel. */
export interface ProcessFacts {
  readonly userId: number;
  readonly groupIds: readonly number[];
  /** Effective capabilities, one bit each (capabilities(7)); undefined when /proc cannot be read. */
  readonly capabilities: bigint | undefined;
  /** Whether a seccomp filter is installed (`Seccomp: 2` of proc_pid_status(5)). */
  readonly isFiltered: boolean;
  /** For example `6.1.0-18-amd64`. */
  readonly kernelRelease: string;
}

/** What the kernel edge asks of the system besides bpf(2). Tests replace it. */
export interface SystemProbe {
  /** @throws the errno error of stat(2) */
  stat(path: string): PathStatus;
  /** `f_type` of statfs(2). @throws its errno error */
  fileSystemType(path: string): number;
  process(): ProcessFacts;
  closeFd(fd: number): void;
}

function processStatus(): string {
  try {
    return readFileSync("/proc/thread-self/status", "utf8");
  } catch {
    return ""; // A container may hide /proc; the diagnosis is then less precise.
  }
}

/** The system this process runs on. */
export const systemProbe: SystemProbe = {
  stat(path) {
    const status = statSync(path, { bigint: true });
    return {
      device: status.dev,
      inode: status.ino,
      changedNs: status.ctimeNs,
      mode: Number(status.mode & 0o7777n),
      userId: Number(status.uid),
      groupId: Number(status.gid),
      isFile: status.isFile(),
    };
  },
  fileSystemType: (path) => statfsSync(path).type,
  process() {
    const status = processStatus();
    const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
    const groupIds = [...(process.getgroups?.() ?? [])];
    const groupId = process.getegid?.();
    if (groupId !== undefined && !groupIds.includes(groupId)) groupIds.push(groupId);
    return {
      userId: process.geteuid?.() ?? -1,
      groupIds,
      capabilities: capabilities === undefined ? undefined : BigInt(`0x${capabilities}`),
      isFiltered: /^Seccomp:\s*2$/m.test(status),
      kernelRelease: release(),
    };
  },
  closeFd: (fd) => closeSync(fd),
};
