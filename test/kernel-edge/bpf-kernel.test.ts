import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { isOnehopError, type OnehopError } from "../../src/errors.js";
import { createBpfKernel } from "../../src/kernel/bpf-kernel.js";
import { createBpfMapMaker } from "../../src/kernel/bpf-map-maker.js";
import type { ProcessFacts } from "../../src/kernel/system-probe.js";
import { bytes, HASH } from "../support/kernel-conformance.js";
import {
  CREATE,
  DELETE,
  GET,
  INFO,
  LOOKUP,
  PIN,
  type ScriptedSyscall,
  scriptedProbe,
  scriptedSyscall,
  UPDATE,
} from "../support/scripted-syscall.js";

const { errno } = constants;
const PATH = "/pins/services";
const FD = 42;
const present = { "/pins": { isFile: false, mode: 0o755 }, [PATH]: {} };

function errorOf(action: () => unknown): OnehopError {
  try {
    action();
  } catch (error) {
    if (isOnehopError(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

function openWith(result: number, facts: Partial<ProcessFacts> = {}, pin: object = {}): OnehopError {
  const probe = scriptedProbe({ ...present, [PATH]: pin }, facts);
  return errorOf(() => createBpfKernel(scriptedSyscall({ [GET]: result }), probe).open(PATH, HASH));
}

const callsOf = (sys: ScriptedSyscall, command: number): Uint8Array[] =>
  sys.calls.filter((call) => call.command === command).map((call) => call.attr);

describe("opening a pin, refused by the kernel", () => {
  it("EACCES: file-mode with path, mode, owner, uid and the fix", () => {
    const error = openWith(-errno.EACCES, {}, { mode: 0o600 });
    expect(error).toMatchObject({ code: "ERR_ONEHOP_KERNEL", reason: "file-mode" });
    expect(error.message).toContain(`${PATH}: mode 0600, owner 0:0, and this process runs as uid 65534, gids 65534`);
    expect(error.message).toContain(`chgrp GID ${PATH}; chmod 0640 ${PATH}`);
    expect(error.message).toContain("CAP_DAC_READ_SEARCH");
  });

  it("EACCES for uid 0 says what root may lack", () => {
    const error = openWith(-errno.EACCES, { userId: 0 }, { mode: 0o600, userId: 65534 });
    expect(error.message).toMatch(/uid 0 here, without CAP_DAC_READ_SEARCH or in a user namespace/);
  });

  it.each([
    ["others", { mode: 0o644 }, {}],
    ["its group", { mode: 0o640, groupId: 1337 }, { groupIds: [1337] }],
    ["its owner", { mode: 0o400, userId: 7 }, { userId: 7 }],
    ["who may read everything", { mode: 0o600 }, { capabilities: 1n << 2n }],
  ])("EACCES although the mode lets %s read points to a security module", (_who, pin, facts) => {
    const error = openWith(-errno.EACCES, facts, pin);
    expect(error.reason).toBe("file-mode");
    expect(error.message).toMatch(/SELinux or AppArmor/);
  });

  it("the owner's bits decide for the owner, though others may read", () => {
    expect(openWith(-errno.EACCES, { userId: 7 }, { mode: 0o044, userId: 7 }).message).toMatch(/chmod 0640/);
  });

  it("EPERM under a filter: seccomp with the fix", () => {
    const error = openWith(-errno.EPERM, { isFiltered: true });
    expect(error.reason).toBe("seccomp");
    expect(error.message).toMatch(/Localhost profile that allows bpf, or seccompProfile type Unconfined/);
    expect(error.message).not.toMatch(/CAP_BPF/);
  });

  it("EPERM under a filter on an old kernel names the capability too", () => {
    expect(openWith(-errno.EPERM, { isFiltered: true, kernelRelease: "5.15.0-91-generic" }).message).toMatch(
      /Kernel 5.15.0-91-generic, before 5.19, also wants CAP_BPF/,
    );
  });

  it.each(["5.18.19", "5.4.0-generic", "4.19.0"])("EPERM without a filter on %s: capability", (kernelRelease) => {
    const error = openWith(-errno.EPERM, { kernelRelease });
    expect(error.reason).toBe("capability");
    expect(error.message).toContain(`kernel ${kernelRelease}, before 5.19, wants CAP_BPF`);
  });

  it.each(["5.19.0", "6.18.44", "a kernel of another kind"])("EPERM on %s is not said to want it", (kernelRelease) => {
    const error = openWith(-errno.EPERM, { kernelRelease });
    expect(error.reason).toBe("capability");
    expect(error.message).toMatch(/security module or the kernel's lockdown/);
  });

  it("EPERM on an old kernel for a process that has CAP_BPF has another cause", () => {
    expect(openWith(-errno.EPERM, { kernelRelease: "5.15.0", capabilities: 1n << 39n }).message).toMatch(/lockdown/);
  });

  it.each([
    [errno.ENOENT, "no-pin", /nothing is pinned there/],
    [errno.EINVAL, "errno", /EINVAL.*program or a link/],
    [errno.ENOSYS, "errno", /no bpf\(2\)/],
    [errno.EMFILE, "errno", /EMFILE.*RLIMIT_NOFILE/],
    [errno.EIO, "errno", /: EIO$/],
    [524, "errno", /524/],
  ])("errno %i: %s", (number, reason, message) => {
    const error = openWith(-number);
    expect(error.reason).toBe(reason);
    expect(error.message).toMatch(message);
  });
});

describe("opening a pin", () => {
  it("asks for BPF_F_RDONLY and nothing else", () => {
    const sys = scriptedSyscall({ [GET]: FD });
    createBpfKernel(sys, scriptedProbe(present)).open(PATH, HASH);
    const [attr] = callsOf(sys, GET);
    const fields = new DataView((attr ?? new Uint8Array()).buffer);
    expect(new TextDecoder().decode(sys.memory(fields.getBigUint64(0, true), PATH.length + 1))).toBe(`${PATH}\0`);
    expect([fields.getUint32(8, true), fields.getUint32(12, true)]).toEqual([0, 8]);
    expect(sys.calls.map(({ command }) => command)).toEqual([GET, INFO]);
  });

  it.each([
    ["/plain/file", { "/plain/file": {} }, "no-bpffs"],
    ["/plain/none", {}, "no-bpffs"],
    ["/pins/none", present, "no-pin"],
    ["/pins/none/below", present, "no-pin"],
    ["/pins", present, "no-pin"],
    ["", present, "no-pin"],
    ["/pins/\0", present, "no-pin"],
  ])("%j: %s is found before the kernel is asked", (path, existing, reason) => {
    const sys = scriptedSyscall({ [GET]: FD });
    expect(errorOf(() => createBpfKernel(sys, scriptedProbe(existing)).open(path, HASH)).reason).toBe(reason);
    expect(sys.calls).toEqual([]);
  });

  it("a directory that may not be entered is file-mode, for the stamp as well", () => {
    const probe = scriptedProbe(present);
    const hidden = {
      ...probe,
      stat(path: string) {
        if (path === PATH) throw Object.assign(new Error("EACCES"), { code: "EACCES" });
        return { ...probe.stat(path), mode: 0o700 };
      },
    };
    const kernel = createBpfKernel(scriptedSyscall({}), hidden);
    for (const action of [() => kernel.open(PATH, HASH), () => kernel.pinStamp(PATH)]) {
      expect(errorOf(action)).toMatchObject({
        reason: "file-mode",
        message: expect.stringContaining("uid 65534 may not enter /pins (mode 0700, owner 0:0)"),
      });
    }
  });

  it("a path that cannot be stat'ed for another reason is errno, with the cause", () => {
    const cause = Object.assign(new Error("too many links"), { code: "ELOOP" });
    const probe = {
      ...scriptedProbe(present),
      stat() {
        throw cause;
      },
    };
    expect(errorOf(() => createBpfKernel(scriptedSyscall({}), probe).open(PATH, HASH))).toMatchObject({
      reason: "errno",
      cause,
    });
  });

  it.each([
    ["type", { type: 2 }, "found array with 12-byte keys and 12-byte values"],
    ["unknown type", { type: 31 }, "found type 31 with 12-byte keys"],
    ["key size", { keySize: 24 }, "found hash with 24-byte keys"],
    ["value size", { valueSize: 16 }, "found hash with 12-byte keys and 16-byte values"],
  ])("another %s is layout, tells expected and found, and closes the fd", (_what, differs, found) => {
    const info = { type: 1, id: 7, keySize: 12, valueSize: 12, maxEntries: 1, name: "other", ...differs };
    const sys = scriptedSyscall({ [GET]: FD }, info);
    const probe = scriptedProbe(present);
    const shape = { ...HASH, valueSizes: [12, 20] };
    const error = errorOf(() => createBpfKernel(sys, probe).open(PATH, shape));
    expect(error.reason).toBe("layout");
    expect(error.message).toContain("expected hash with 12-byte keys and 12- or 20-byte values");
    expect(error.message).toContain(found);
    expect(error.message).toContain('map 7 "other"');
    expect(probe.closed).toEqual([FD]);
    expect(callsOf(sys, LOOKUP), "no byte of it was read").toEqual([]);
  });

  it("closes the fd when the kernel does not tell what the map is", () => {
    const probe = scriptedProbe(present);
    const sys = scriptedSyscall({ [GET]: FD, [INFO]: -errno.EPERM });
    expect(errorOf(() => createBpfKernel(sys, probe).open(PATH, HASH)).reason).toBe("capability");
    expect(probe.closed).toEqual([FD]);
  });

  it("a pin's stamp is its device, inode and change time", () => {
    const kernel = createBpfKernel(scriptedSyscall({}), scriptedProbe(present));
    expect(kernel.pinStamp(PATH)).toBe("3:5:9");
    expect(kernel.pinStamp("/pins/none")).toBeUndefined();
  });
});

describe("a reader", () => {
  it("hands the kernel its own memory, of the sizes the kernel told", () => {
    const sys = scriptedSyscall({ [GET]: FD });
    const reader = createBpfKernel(sys, scriptedProbe(present)).open(PATH, HASH);
    const value = bytes(12, 0);
    const key = bytes(12, 3);
    expect(reader.lookup(key, value)).toBe(true);
    const fields = new DataView((callsOf(sys, LOOKUP)[0] ?? new Uint8Array()).buffer);
    expect([fields.byteLength, fields.getUint32(0, true), fields.getBigUint64(24, true)]).toEqual([32, FD, 0n]);
    expect(sys.memory(fields.getBigUint64(8, true), 12)).toEqual(key);
    const keyMemory = fields.getBigUint64(8, true);
    const valueMemory = fields.getBigUint64(16, true);
    expect(valueMemory - keyMemory, "areas do not overlap").toBeGreaterThanOrEqual(12n);
    sys.memory(valueMemory, 12).fill(9);
    reader.lookup(key, value);
    expect(value).toEqual(bytes(12, 9));
  });

  it("wrong sizes never reach the kernel", () => {
    const sys = scriptedSyscall({ [GET]: FD });
    const reader = createBpfKernel(sys, scriptedProbe(present)).open(PATH, HASH);
    expect(() => reader.lookup(bytes(13, 0), bytes(12, 0))).toThrow(RangeError);
    expect(() => reader.lookup(bytes(12, 0), bytes(0, 0))).toThrow(RangeError);
    expect(callsOf(sys, LOOKUP)).toEqual([]);
  });

  it("ENOENT is a miss that leaves the value alone; anything else is an error", () => {
    const answers = { [GET]: FD, [LOOKUP]: -errno.ENOENT };
    const reader = createBpfKernel(scriptedSyscall(answers), scriptedProbe(present)).open(PATH, HASH);
    const value = bytes(12, 0xee);
    expect(reader.lookup(bytes(12, 1), value)).toBe(false);
    answers[LOOKUP] = -errno.EBADF;
    expect(errorOf(() => reader.lookup(bytes(12, 1), value))).toMatchObject({
      reason: "errno",
      message: `cannot look up a key of the map pinned at ${PATH}: EBADF`,
    });
    expect(value).toEqual(bytes(12, 0xee));
  });

  it("closes its fd once and is closed from then on", () => {
    const probe = scriptedProbe(present);
    const reader = createBpfKernel(scriptedSyscall({ [GET]: FD }), probe).open(PATH, HASH);
    reader.close();
    reader.close();
    expect(probe.closed).toEqual([FD]);
    expect(errorOf(() => reader.lookup(bytes(12, 1), bytes(12, 0))).reason).toBe("closed");
  });
});

describe("the map maker", () => {
  const shape = { ...HASH, maxEntries: 65_536 };

  it("creates as Cilium does: BPF_F_NO_PREALLOC, name cut to 15", () => {
    const sys = scriptedSyscall({ [CREATE]: FD });
    createBpfMapMaker(sys, scriptedProbe(present)).create("cilium_lb4_services_v2", shape);
    const attr = callsOf(sys, CREATE)[0] ?? new Uint8Array();
    const fields = new DataView(attr.buffer);
    expect([0, 4, 8, 12, 16].map((offset) => fields.getUint32(offset, true))).toEqual([1, 12, 12, 65_536, 1]);
    expect(new TextDecoder().decode(attr.subarray(28, 44))).toBe("cilium_lb4_serv\0");
  });

  it("never asks to open a pin", () => {
    const sys = scriptedSyscall({ [CREATE]: FD });
    const maker = createBpfMapMaker(sys, scriptedProbe(present));
    const map = maker.create("mine", shape);
    expect(() => maker.pin(map, PATH)).toThrow(/not pinned by this map maker/);
    expect(() => maker.unpin(PATH)).toThrow(/not pinned by this map maker/);
    map.update(bytes(12, 1), bytes(12, 1));
    map.delete(bytes(12, 1));
    expect(new Set(sys.calls.map(({ command }) => command))).toEqual(new Set([CREATE, INFO, UPDATE, DELETE]));
    expect(callsOf(sys, DELETE)[0]?.byteLength, "DELETE does not know the value field").toBe(16);
  });

  it("EPERM says that making maps wants CAP_BPF", () => {
    const maker = createBpfMapMaker(scriptedSyscall({ [CREATE]: -errno.EPERM }), scriptedProbe(present));
    expect(errorOf(() => maker.create("mine", shape))).toMatchObject({
      reason: "capability",
      message: expect.stringMatching(/cannot create the map mine: EPERM.*Making or writing maps wants CAP_BPF/),
    });
  });

  it("closes the fd when the kernel does not tell what it made", () => {
    const probe = scriptedProbe(present);
    const maker = createBpfMapMaker(scriptedSyscall({ [CREATE]: FD, [INFO]: -errno.ENOMEM }), probe);
    expect(errorOf(() => maker.create("mine", shape)).reason).toBe("errno");
    expect(probe.closed).toEqual([FD]);
  });

  it.each([[[]], [[12, 24]]])("wants exactly one value size, not %j", (valueSizes) => {
    const sys = scriptedSyscall({ [CREATE]: FD });
    const maker = createBpfMapMaker(sys, scriptedProbe(present));
    expect(() => maker.create("mine", { ...shape, valueSizes })).toThrow(RangeError);
    expect(sys.calls).toEqual([]);
  });

  it("does not pin a map of another maker", () => {
    const probe = scriptedProbe(present);
    const map = createBpfMapMaker(scriptedSyscall({ [CREATE]: FD }), probe).create("mine", shape);
    const sys = scriptedSyscall({});
    expect(() => createBpfMapMaker(sys, probe).pin(map, "/pins/new")).toThrow(TypeError);
    expect(callsOf(sys, PIN)).toEqual([]);
  });

  it("writing errors name the map", () => {
    const sys = scriptedSyscall({ [CREATE]: FD, [UPDATE]: -errno.E2BIG, [DELETE]: -errno.EBUSY });
    const map = createBpfMapMaker(sys, scriptedProbe(present)).create("mine", shape);
    expect(() => map.update(bytes(12, 1), bytes(12, 1))).toThrow(/cannot write to the map "cilium_lb4_serv": E2BIG/);
    expect(() => map.delete(bytes(12, 1))).toThrow(/cannot delete from the map "cilium_lb4_serv": EBUSY/);
  });
});
