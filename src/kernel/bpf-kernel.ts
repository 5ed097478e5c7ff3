import { createMapElements, getPinned, readMapInfo } from "./bpf-commands.js";
import type { BpfSyscall } from "./bpf-syscall.js";
import { errno, refusal } from "./diagnosis.js";
import type { Kernel, MapInfo, MapReader, MapShape } from "./kernel.js";
import { closedError } from "./kernel-error.js";
import { requireSize, shapeMismatch } from "./map-shape.js";
import { pinStatus, requirePin } from "./pin-path.js";
import { type SystemProbe, systemProbe } from "./system-probe.js";

/**
 * The kernel this process runs on, read by bpf(2). Every map is opened with BPF_F_RDONLY, so the kernel itself refuses
 * a write, whatever this process may do; and its type and sizes are checked before the first look-up, so no value can
 * overrun a buffer.
 *
 * @param probe what is asked of the file system and /proc; tests replace it
 */
export function createBpfKernel(sys: BpfSyscall, probe: SystemProbe = systemProbe): Kernel {
  return {
    kind: "real",
    open(path, shape) {
      requirePin(path, probe);
      const fd = getPinned(sys, path);
      if (fd < 0) throw refusal(fd, { action: `cannot open the map pinned at ${path}`, path }, probe);
      try {
        return createReader(sys, probe, fd, path, requireInfo(sys, probe, fd, path, shape));
      } catch (error) {
        probe.closeFd(fd);
        throw error;
      }
    },
    pinStamp(path) {
      const status = pinStatus(path, probe);
      // Inode numbers of a bpffs come from a counter that can wrap; the change time tells such twins apart.
      return status === undefined ? undefined : `${status.device}:${status.inode}:${status.changedNs}`;
    },
  };
}

function requireInfo(sys: BpfSyscall, probe: SystemProbe, fd: number, path: string, shape: MapShape): MapInfo {
  const info = readMapInfo(sys, fd);
  if (typeof info === "number") {
    throw refusal(info, { action: `cannot ask what the map pinned at ${path} is` }, probe);
  }
  const mismatch = shapeMismatch(path, info, shape);
  if (mismatch !== undefined) throw mismatch;
  return info;
}

function createReader(sys: BpfSyscall, probe: SystemProbe, fd: number, path: string, info: MapInfo): MapReader {
  const elements = createMapElements(sys, fd, info);
  let isOpen = true;
  return {
    path,
    info,
    lookup(key, value) {
      if (!isOpen) throw closedError(`the reader of ${path}`);
      requireSize("key", key, info.keySize);
      requireSize("value", value, info.valueSize);
      const result = elements.lookup(key, value);
      if (result >= 0) return true;
      if (result === -errno.ENOENT) return false;
      throw refusal(result, { action: `cannot look up a key of the map pinned at ${path}` }, probe);
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      probe.closeFd(fd);
    },
  };
}
