/**
 * Turns what the kernel refused into a precise reason and a fix. The same errno has several causes: EACCES is the mode
 * of the pin or of a directory above it, or a security module; EPERM is a seccomp filter, or a kernel that wants a
 * capability. What tells them apart is read from the file system and from /proc.
 */
import { constants } from "node:os";
import { dirname } from "node:path";
import { getSystemErrorName } from "node:util";
import type { OnehopError } from "../errors.js";
import { kernelError } from "./kernel-error.js";
import type { PathStatus, ProcessFacts, SystemProbe } from "./system-probe.js";

/** Errno numbers by name. */
export const errno: typeof constants.errno = constants.errno;

const CAP_DAC_OVERRIDE = 1n;
const CAP_DAC_READ_SEARCH = 2n;
const CAP_SYS_ADMIN = 21n;
const CAP_BPF = 39n;

/** What failed: a sentence part such as `cannot open the map pinned at /x`, and the pin's path where there is one. */
export interface RefusedAction {
  readonly action: string;
  readonly path?: string;
}

/**
 * The error for `-result` of a bpf(2) call.
 *
 * @param result negative, as {@link BpfSyscall} gives it
 */
export function refusal(result: number, refused: RefusedAction, probe: SystemProbe): OnehopError {
  switch (-result) {
    case errno.EACCES:
      return accessRefusal(refused, probe);
    case errno.EPERM:
      return permissionRefusal(refused.action, probe.process());
    case errno.ENOENT:
      return kernelError("no-pin", `${refused.action}: nothing is pinned there (ENOENT)`);
    case errno.ENOSYS:
      return kernelError(
        "errno",
        `${refused.action}: this kernel has no bpf(2) (ENOSYS), or a sandbox such as gVisor hides it`,
      );
    default:
      return kernelError("errno", `${refused.action}: ${errnoText(result)}`);
  }
}

/** The name of an errno, and its usual cause where one is known. */
export function errnoText(result: number): string {
  const hints: Readonly<Record<number, string>> = {
    [errno.EINVAL]: "the kernel refused the arguments; a pin may hold a program or a link instead of a map",
    [errno.EEXIST]: "something is pinned there already and is left alone",
    [errno.E2BIG]: "the map is full, or the request is not known to this kernel",
    [errno.ENOSPC]: "the map is full",
    [errno.EMFILE]: "this process has too many open files; raise RLIMIT_NOFILE",
    [errno.ENOMEM]: "the kernel has no memory left for it; before 5.11 raise RLIMIT_MEMLOCK",
  };
  const hint = hints[-result];
  return hint === undefined ? getSystemErrorName(result) : `${getSystemErrorName(result)}, ${hint}`;
}

function has(facts: ProcessFacts, ...capabilities: readonly bigint[]): boolean {
  const held = facts.capabilities ?? 0n;
  return capabilities.some((capability) => (held & (1n << capability)) !== 0n);
}

function owner(status: PathStatus): string {
  return `mode ${status.mode.toString(8).padStart(4, "0")}, owner ${status.userId}:${status.groupId}`;
}

function maySatisfy(status: PathStatus, facts: ProcessFacts, permission: 1 | 4): boolean {
  const shift = status.userId === facts.userId ? 6 : facts.groupIds.includes(status.groupId) ? 3 : 0;
  return ((status.mode >> shift) & permission) !== 0;
}

function accessRefusal({ action, path }: RefusedAction, probe: SystemProbe): OnehopError {
  const facts = probe.process();
  const status = path === undefined ? undefined : statOrUndefined(path, probe);
  if (status === undefined) return kernelError("file-mode", `${action}: uid ${facts.userId} has no access (EACCES)`);
  if (maySatisfy(status, facts, 4) || has(facts, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)) {
    return kernelError(
      "file-mode",
      `${action}: its file mode lets uid ${facts.userId} read it (${owner(status)}), so a security module such as SELinux ` +
        "or AppArmor refuses, or the wish was to write; look at the audit log",
    );
  }
  const root = facts.userId === 0 ? " (uid 0 here, without CAP_DAC_READ_SEARCH or in a user namespace of its own)" : "";
  return kernelError(
    "file-mode",
    `${action}: ${owner(status)}, and this process runs as uid ${facts.userId}, gids ${facts.groupIds.join(",")}${root}. ` +
      `Let one of its groups read (chgrp GID ${path}; chmod 0640 ${path}; again whenever the pin is made anew), ` +
      "or give the process CAP_DAC_READ_SEARCH",
  );
}

function permissionRefusal(action: string, facts: ProcessFacts): OnehopError {
  const needsCapability = isBefore519(facts.kernelRelease) && !has(facts, CAP_BPF, CAP_SYS_ADMIN);
  if (facts.isFiltered) {
    const also = needsCapability ? ` Kernel ${facts.kernelRelease}, before 5.19, also wants CAP_BPF` : "";
    return kernelError(
      "seccomp",
      `${action}: EPERM under a seccomp filter, which the RuntimeDefault profile sets to refuse bpf(2). Use a Localhost ` +
        `profile that allows bpf, or seccompProfile type Unconfined.${also}`,
    );
  }
  if (needsCapability) {
    return kernelError(
      "capability",
      `${action}: EPERM; kernel ${facts.kernelRelease}, before 5.19, wants CAP_BPF (CAP_SYS_ADMIN before 5.8) for every ` +
        "bpf(2) call while kernel.unprivileged_bpf_disabled is not 0. Give the process CAP_BPF",
    );
  }
  return kernelError(
    "capability",
    `${action}: EPERM without a seccomp filter on kernel ${facts.kernelRelease}. Making or writing maps wants CAP_BPF; ` +
      "reading does not from 5.19 on, so there a security module or the kernel's lockdown refuses",
  );
}

/** Reads became free of capabilities in 5.19 (Linux commit c8644cd0efe7). */
function isBefore519(kernelRelease: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(kernelRelease) ?? [];
  if (major === undefined || minor === undefined) return false;
  return Number(major) < 5 || (Number(major) === 5 && Number(minor) < 19);
}

function statOrUndefined(path: string, probe: SystemProbe): PathStatus | undefined {
  try {
    return probe.stat(path);
  } catch {
    return undefined;
  }
}

/** Of a path that cannot be stat'ed: the error that names the directory which may not be entered. */
export function hiddenPath(action: string, path: string, probe: SystemProbe): OnehopError {
  const facts = probe.process();
  let directory = dirname(path);
  let status = statOrUndefined(directory, probe);
  while (status === undefined && dirname(directory) !== directory) {
    directory = dirname(directory);
    status = statOrUndefined(directory, probe);
  }
  return kernelError(
    "file-mode",
    `${action}: uid ${facts.userId} may not enter ${directory} (${status === undefined ? "unknown mode" : owner(status)}). ` +
      `Let it (chmod o+x ${directory}), or mount the directory of the pins itself into the container`,
  );
}
