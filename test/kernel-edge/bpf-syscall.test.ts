import { describe, expect, it } from "vitest";
import { type KoffiModule, loadBpfSyscall, type SyscallEnvironment } from "../../src/kernel/bpf-syscall.js";

function koffiWith(syscall: (...args: unknown[]) => unknown, errno = 0): KoffiModule {
  return { load: () => ({ func: () => syscall }), errno: () => errno, address: () => 0x1000n };
}

function environment(changes: Partial<SyscallEnvironment>): SyscallEnvironment {
  return { platform: "linux", arch: "x64", importKoffi: async () => koffiWith(() => 0), ...changes };
}

describe("loadBpfSyscall", () => {
  it("without koffi tells how to install it", async () => {
    const cause = Object.assign(new Error("Cannot find package 'koffi'"), { code: "ERR_MODULE_NOT_FOUND" });
    await expect(loadBpfSyscall(environment({ importKoffi: () => Promise.reject(cause) }))).rejects.toMatchObject({
      code: "ERR_ONEHOP_KERNEL",
      reason: "no-koffi",
      message: expect.stringContaining("npm install koffi"),
      cause,
    });
  });

  it("under the permission model names the flag", async () => {
    const cause = Object.assign(new Error("Cannot load native addon"), { code: "ERR_DLOPEN_DISABLED" });
    await expect(loadBpfSyscall(environment({ importKoffi: () => Promise.reject(cause) }))).rejects.toMatchObject({
      reason: "no-koffi",
      message: expect.stringMatching(/Cannot load native addon.*--allow-addons/),
    });
  });

  it("a koffi that cannot bind is no-koffi as well", async () => {
    const broken: KoffiModule = {
      ...koffiWith(() => 0),
      load() {
        throw new Error("no libc");
      },
    };
    await expect(loadBpfSyscall(environment({ importKoffi: async () => broken }))).rejects.toMatchObject({
      reason: "no-koffi",
      message: expect.stringContaining("no libc"),
    });
  });

  it.each([
    ["darwin", "arm64"],
    ["win32", "x64"],
    ["linux", "mips"],
    ["linux", "toString"],
  ])("%s %s is unsupported-platform, and koffi is not even tried", async (platform, arch) => {
    const importKoffi = (): Promise<KoffiModule> => Promise.reject(new Error("must not be tried"));
    await expect(loadBpfSyscall({ platform, arch, importKoffi })).rejects.toMatchObject({
      reason: "unsupported-platform",
      message: expect.stringContaining(`${platform} ${arch}`),
    });
  });

  it.each([
    ["x64", 321],
    ["arm64", 280],
    ["riscv64", 280],
    ["loong64", 280],
    ["ppc64", 361],
  ])("on %s bpf(2) has number %i", async (arch, number) => {
    const seen: unknown[][] = [];
    const koffi = koffiWith((...args) => {
      seen.push(args);
      return 5;
    });
    const sys = await loadBpfSyscall(environment({ arch, importKoffi: async () => koffi }));
    const attr = new Uint8Array(32);
    expect(sys.call(7, attr)).toBe(5);
    expect(seen).toEqual([[number, 7, attr, 32]]);
  });

  it("gives -errno where the call fails", async () => {
    const sys = await loadBpfSyscall(environment({ importKoffi: async () => koffiWith(() => -1, 13) }));
    expect(sys.call(7, new Uint8Array(16))).toBe(-13);
  });
});
