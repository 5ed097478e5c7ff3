import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, statSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { getPinned } from "../../src/kernel/bpf-commands.js";
import { createBpfFrame } from "../../src/kernel/bpf-frame.js";
import { createBpfKernel } from "../../src/kernel/bpf-kernel.js";
import { createBpfMapMaker } from "../../src/kernel/bpf-map-maker.js";
import { type BpfSyscall, loadBpfSyscall } from "../../src/kernel/bpf-syscall.js";
import { canMakeMaps } from "../../src/kernel/can-make-maps.js";
import { createFakeKernel } from "../../src/kernel/fake-kernel.js";
import type { Kernel, MapMaker } from "../../src/kernel/kernel.js";
import { openKernel } from "../../src/kernel/open-kernel.js";
import { systemProbe } from "../../src/kernel/system-probe.js";
import { type Bpffs, mountBpffs } from "../support/bpffs.js";
import { bytes, failure, HASH, kernelConformance, randomHistory, TRIE } from "../support/kernel-conformance.js";
import { describeKernel } from "../support/kernel-gate.js";

/** The fds of this process that are bpf maps. */
function openMapFds(): number {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return execFileSync("readlink", [`/proc/${process.pid}/fd/${fd}`], { encoding: "utf8" }).trim();
    } catch {
      return "";
    }
  });
  return links.filter((link) => link === "anon_inode:bpf-map").length;
}

describeKernel("the real kernel", () => {
  let bpffs: Bpffs;
  let sys: BpfSyscall;
  let kernel: Kernel;
  let maker: MapMaker;

  beforeAll(async () => {
    bpffs = mountBpffs();
    sys = await loadBpfSyscall();
    kernel = createBpfKernel(sys);
    maker = createBpfMapMaker(sys);
  });
  afterAll(() => bpffs.unmount());

  function pinned(name: string): string {
    const path = bpffs.path(name);
    const map = maker.create(name, { ...HASH, maxEntries: 8 });
    map.update(bytes(12, 1), bytes(12, 1));
    maker.pin(map, path);
    map.close();
    return path;
  }

  kernelConformance(async () => {
    return { kernel, maker, path: bpffs.path, close() {} };
  });

  it.each([
    ["hash", HASH],
    ["lpm_trie", TRIE],
  ] as const)("agrees with the fake on random operations: %s", (_type, shape) => {
    const real = { kernel, maker, path: bpffs.path, close() {} };
    for (let seed = 1; seed <= 20; seed += 1) {
      const fakeKernel = createFakeKernel();
      const fake = { kernel: fakeKernel, maker: fakeKernel, path: (name: string) => `/${name}`, close() {} };
      expect(randomHistory(real, shape, seed, 300), `seed ${seed}`).toEqual(randomHistory(fake, shape, seed, 300));
    }
  });

  it("openKernel gives it", async () => {
    const opened = await openKernel();
    expect(opened.kind).toBe("real");
    const reader = opened.open(pinned("opened"), HASH);
    expect(reader.lookup(bytes(12, 1), bytes(12, 0))).toBe(true);
    reader.close();
  });

  it("the kernel itself refuses to write through a reader's fd", () => {
    const path = pinned("readonly");
    const fd = getPinned(sys, path);
    expect(fd).toBeGreaterThan(0);
    const frame = createBpfFrame(sys, 32, [12, 12]);
    frame.fields.setUint32(0, fd, true);
    frame.fields.setBigUint64(8, frame.areas[0]?.address ?? 0n, true);
    frame.fields.setBigUint64(16, frame.areas[1]?.address ?? 0n, true);
    const EPERM = 1;
    expect(sys.call(2, frame.attr), "BPF_MAP_UPDATE_ELEM").toBe(-EPERM);
    expect(sys.call(3, frame.attr.subarray(0, 16)), "BPF_MAP_DELETE_ELEM").toBe(-EPERM);
    systemProbe.closeFd(fd);
  });

  it("leaves no fd behind, neither closed readers nor refused ones", () => {
    const path = pinned("fds");
    const before = openMapFds();
    const reader = kernel.open(path, HASH);
    expect(openMapFds(), "an open reader shows").toBe(before + 1);
    reader.close();
    for (let round = 0; round < 5; round += 1) failure(() => kernel.open(path, TRIE));
    expect(openMapFds()).toBe(before);
  });

  describe("paths", () => {
    it("a plain file is no-bpffs, as is a missing one outside a bpffs", async () => {
      const directory = await mkdtemp(join(tmpdir(), "onehop-plain-"));
      writeFileSync(join(directory, "file"), "");
      expect(failure(() => kernel.open(join(directory, "file"), HASH))).toBe("ERR_ONEHOP_KERNEL no-bpffs");
      expect(failure(() => kernel.open(join(directory, "none/at/all"), HASH))).toBe("ERR_ONEHOP_KERNEL no-bpffs");
      await rm(directory, { recursive: true });
    });

    it.each(["missing", "missing/below", "a.name.with.dots", "x".repeat(255)])("%s is no-pin", (name) => {
      expect(failure(() => kernel.open(bpffs.path(name), HASH))).toBe("ERR_ONEHOP_KERNEL no-pin");
      expect(kernel.pinStamp(bpffs.path(name))).toBeUndefined();
    });

    it("a directory is no-pin, as is a path below a pin", () => {
      mkdirSync(bpffs.path("directory"));
      expect(() => kernel.open(bpffs.path("directory"), HASH)).toThrow(/not a pinned map but a directory/);
      expect(failure(() => kernel.open(join(pinned("leaf"), "below"), HASH))).toBe("ERR_ONEHOP_KERNEL no-pin");
    });

    it("a symbolic link to a pin is followed", () => {
      symlinkSync(pinned("target"), bpffs.path("link"));
      const reader = kernel.open(bpffs.path("link"), HASH);
      expect(reader.info.name).toBe("target");
      reader.close();
    });
  });

  describe("the map maker", () => {
    it("makes missing directories that others may enter", () => {
      const map = maker.create("deep", { ...HASH, maxEntries: 1 });
      maker.pin(map, bpffs.path("tc/globals/deep"));
      expect(statSync(bpffs.path("tc/globals")).mode & 0o777).toBe(0o755);
      expect(statSync(bpffs.path("tc/globals/deep")).mode & 0o777).toBe(0o600);
      map.close();
    });

    it("leaves alone a pin that it did not make", () => {
      const path = pinned("foreign");
      const stamp = kernel.pinStamp(path);
      const other = createBpfMapMaker(sys);
      const map = other.create("other", { ...HASH, maxEntries: 1 });
      expect(() => other.pin(map, path)).toThrow(/not pinned by this map maker/);
      expect(() => other.unpin(path)).toThrow(/not pinned by this map maker/);
      expect(kernel.pinStamp(path)).toBe(stamp);
      map.close();
    });

    it("does not take for its own what another put in place of its pin", () => {
      const path = pinned("mine");
      unlinkSync(path);
      const other = createBpfMapMaker(sys);
      other.pin(other.create("other", { ...HASH, maxEntries: 1 }), path);
      expect(() => maker.unpin(path)).toThrow(/not pinned by this map maker/);
    });

    it("does not pin outside a bpffs and touches nothing there", async () => {
      const directory = await mkdtemp(join(tmpdir(), "onehop-plain-"));
      writeFileSync(join(directory, "file"), "kept");
      const map = maker.create("lost", { ...HASH, maxEntries: 1 });
      expect(failure(() => maker.pin(map, join(directory, "file")))).toBe("ERR_ONEHOP_KERNEL no-bpffs");
      expect(failure(() => maker.pin(map, join(directory, "new/map")))).toBe("ERR_ONEHOP_KERNEL no-bpffs");
      expect(readdirSync(directory)).toEqual(["file"]);
      map.close();
      await rm(directory, { recursive: true });
    });

    it("canMakeMaps says yes and leaves nothing behind", async () => {
      const before = readdirSync(bpffs.directory);
      expect(await canMakeMaps(bpffs.path("not/yet/there"))).toEqual({ ok: true });
      expect(readdirSync(bpffs.directory)).toEqual(before);
    });

    it("canMakeMaps says why not", async () => {
      expect(await canMakeMaps(tmpdir())).toEqual({ ok: false, reason: expect.stringMatching(/not on a bpffs/) });
    });
  });

  it("a new mode of the pin is a new stamp, so that a reader refused before tries again", async () => {
    const path = pinned("chmod");
    const before = kernel.pinStamp(path);
    await setTimeout(30); // The kernel stamps inodes by the tick of its coarse clock, at most 10 ms.
    chmodSync(path, 0o640);
    expect(kernel.pinStamp(path)).not.toBe(before);
  });
});
