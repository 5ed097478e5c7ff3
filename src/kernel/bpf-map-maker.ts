import { mkdirSync, unlinkSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { createMap, createMapElements, pinFd, readMapInfo } from "./bpf-commands.js";
import type { BpfSyscall } from "./bpf-syscall.js";
import { errno, refusal } from "./diagnosis.js";
import type { MapInfo, MapMaker, WritableMap } from "./kernel.js";
import { closedError, kernelError } from "./kernel-error.js";
import { onlyValueSize, requireSize } from "./map-shape.js";
import { pinStatus, requireBpffs } from "./pin-path.js";
import { type SystemProbe, systemProbe } from "./system-probe.js";

/**
 * Makes maps of its own for tests, demo and lab. It has no way to open a map that exists, and it replaces or removes
 * only pins that it made itself, so it cannot touch what Cilium pinned. Needs CAP_BPF, and write access to the bpffs.
 */
export function createBpfMapMaker(sys: BpfSyscall, probe: SystemProbe = systemProbe): MapMaker {
  const openFds = new WeakMap<WritableMap, () => number>();
  /** The inode of each pin made here, by absolute path. */
  const ownPins = new Map<string, bigint>();

  /** Removes a pin that was made here; anything else at the path is left and reported. */
  function removeOwnPin(path: string): void {
    const absolute = resolve(path);
    const status = pinStatus(absolute, probe);
    if (status !== undefined && ownPins.get(absolute) !== status.inode) {
      throw kernelError(
        "errno",
        `${path} was not pinned by this map maker and is left alone; remove it yourself, or name another path`,
      );
    }
    if (status !== undefined) changeFiles(`cannot remove the pin ${path}`, () => unlinkSync(absolute));
    ownPins.delete(absolute);
  }

  return {
    create(name, shape) {
      const { type, keySize, maxEntries } = shape;
      const fd = createMap(sys, name, { type, keySize, valueSize: onlyValueSize(shape), maxEntries });
      if (fd < 0) throw refusal(fd, { action: `cannot create the map ${name}` }, probe);
      const info = readMapInfo(sys, fd);
      if (typeof info === "number") {
        probe.closeFd(fd);
        throw refusal(info, { action: `cannot ask what the new map ${name} is` }, probe);
      }
      const owned = createWritableMap(sys, probe, fd, info);
      openFds.set(owned.map, owned.fd);
      return owned.map;
    },
    pin(map, path) {
      const fd = openFds.get(map);
      if (fd === undefined) throw new TypeError("this map was made by another map maker, which alone can pin it");
      requireBpffs(path, probe);
      removeOwnPin(path);
      changeFiles(`cannot make the directory of ${path}`, () =>
        mkdirSync(dirname(path), { recursive: true, mode: 0o755 }),
      );
      const result = pinFd(sys, fd(), path);
      if (result < 0) throw refusal(result, { action: `cannot pin a map at ${path}`, path: dirname(path) }, probe);
      ownPins.set(resolve(path), probe.stat(path).inode);
    },
    unpin: removeOwnPin,
  };
}

function changeFiles(action: string, change: () => void): void {
  try {
    change();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") {
      throw kernelError(
        "file-mode",
        `${action}: ${code}; its directory must be writable for this process, and a bpffs takes no names with a dot`,
        error,
      );
    }
    throw kernelError("errno", `${action}: ${code ?? String(error)}`, error);
  }
}

function createWritableMap(
  sys: BpfSyscall,
  probe: SystemProbe,
  fd: number,
  info: MapInfo,
): { map: WritableMap; fd: () => number } {
  const elements = createMapElements(sys, fd, info);
  let isOpen = true;
  function openFd(): number {
    if (!isOpen) throw closedError(`the map "${info.name}"`);
    return fd;
  }
  const map: WritableMap = {
    info,
    update(key, value) {
      openFd();
      requireSize("key", key, info.keySize);
      requireSize("value", value, info.valueSize);
      const result = elements.update(key, value);
      if (result < 0) throw refusal(result, { action: `cannot write to the map "${info.name}"` }, probe);
    },
    delete(key) {
      openFd();
      requireSize("key", key, info.keySize);
      const result = elements.remove(key);
      if (result >= 0) return true;
      if (result === -errno.ENOENT) return false;
      throw refusal(result, { action: `cannot delete from the map "${info.name}"` }, probe);
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      probe.closeFd(fd);
    },
  };
  return { map, fd: openFd };
}
