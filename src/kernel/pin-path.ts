import { dirname, resolve } from "node:path";
import type { OnehopError } from "../errors.js";
import { hiddenPath } from "./diagnosis.js";
import { kernelError } from "./kernel-error.js";
import type { PathStatus, SystemProbe } from "./system-probe.js";

/** `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`. */
const BPF_FS_MAGIC = 0xcafe4a11;

const MOUNT_HINT = "mount one (mount -t bpf bpf DIR) or mount the node's /sys/fs/bpf into the container";

/** What became of looking at a path. */
type Sighting = { readonly status: PathStatus } | { readonly isAbsent: true } | { readonly error: OnehopError };

function look(path: string, probe: SystemProbe): Sighting {
  if (path === "" || path.includes("\0")) {
    return { error: kernelError("no-pin", `${JSON.stringify(path)} is not a path; name the file of a pinned map`) };
  }
  try {
    return { status: probe.stat(path) };
  } catch (error) {
    const { code, errno: number } = error as NodeJS.ErrnoException;
    // A bpffs answers EPERM for every name with a dot: it has none.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EPERM") return { isAbsent: true };
    if (code === "EACCES") return { error: hiddenPath(`cannot reach ${path}`, path, probe) };
    return { error: kernelError("errno", `cannot stat ${path}: ${code ?? number ?? String(error)}`, error) };
  }
}

/** Whether a path that exists lies on a bpffs. */
function isOnBpffs(path: string, probe: SystemProbe): boolean {
  try {
    return probe.fileSystemType(path) === BPF_FS_MAGIC;
  } catch (error) {
    throw kernelError("errno", `cannot tell the file system of ${path}; it may have just gone, so try again`, error);
  }
}

/** The path itself, or the nearest directory above it that exists and can be seen. */
export function nearestExisting(path: string, probe: SystemProbe): string {
  let current = resolve(path);
  while (!("status" in look(current, probe)) && dirname(current) !== current) current = dirname(current);
  return current;
}

/**
 * The status of what is pinned at `path`.
 *
 * @returns undefined when there is nothing
 * @throws OnehopError `ERR_ONEHOP_KERNEL`, reason `file-mode` when a directory above may not be entered
 */
export function pinStatus(path: string, probe: SystemProbe): PathStatus | undefined {
  const sighting = look(path, probe);
  if ("error" in sighting) throw sighting.error;
  return "status" in sighting ? sighting.status : undefined;
}

/**
 * Checks that `path` is a file on a bpffs. BPF_OBJ_GET answers EACCES for a plain file too, so it cannot tell.
 *
 * @throws OnehopError `ERR_ONEHOP_KERNEL`, reason `no-bpffs`, `no-pin` or `file-mode`
 */
export function requirePin(path: string, probe: SystemProbe): void {
  const status = pinStatus(path, probe);
  const existing = status === undefined ? nearestExisting(path, probe) : path;
  if (!isOnBpffs(existing, probe)) {
    throw kernelError("no-bpffs", `${path} is not on a bpffs (looked at ${existing}); ${MOUNT_HINT}`);
  }
  if (status === undefined) {
    throw kernelError(
      "no-pin",
      `nothing is pinned at ${path}; the bpffs is there (${existing}), so the writer of the map has not started or pins elsewhere`,
    );
  }
  if (!status.isFile) throw kernelError("no-pin", `${path} is not a pinned map but a directory; name a file in it`);
}

/**
 * Checks that a pin made at `path` would be on a bpffs.
 *
 * @throws OnehopError `ERR_ONEHOP_KERNEL`, reason `no-bpffs`
 */
export function requireBpffs(path: string, probe: SystemProbe): void {
  const existing = nearestExisting(path, probe);
  if (!isOnBpffs(existing, probe)) {
    throw kernelError("no-bpffs", `cannot pin at ${path}: ${existing} is not on a bpffs; ${MOUNT_HINT}`);
  }
}
