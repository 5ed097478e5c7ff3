/**
 * The whole native surface of onehop: one system call, and the address of a buffer. koffi is an optional peer
 * dependency and takes some 20 ms to load, so it is imported when a map is first wanted, never before.
 */
import { kernelError } from "./kernel-error.js";

/** bpf(2), as narrow as it can be made. */
export interface BpfSyscall {
  /**
   * Calls bpf(2) with the whole of `attr`. Memory that `attr` points to must outlive the call: an address kept in
   * `attr` does not hold its buffer. `createBpfFrame` sees to that.
   *
   * @returns the result, or `-errno`
   */
  call(command: number, attr: Uint8Array): number;
  /** Where the first byte of `buffer` lies in memory. */
  addressOf(buffer: Uint8Array): bigint;
}

/** What is used of koffi, so that the declarations of this package do not need koffi's. */
export interface KoffiModule {
  load(path: null): { func(definition: string): (...args: unknown[]) => unknown };
  errno(): number;
  address(value: unknown): bigint;
}

/** Where the process runs and how koffi is found; the parts tests replace. */
export interface SyscallEnvironment {
  readonly platform: string;
  readonly arch: string;
  readonly importKoffi: () => Promise<KoffiModule>;
}

/**
 * The number of bpf(2) by `process.arch`, from each architecture's syscall table in the Linux source. All of them are
 * little endian (Node builds for Linux on ppc64 are), which the attr layouts rely on.
 */
const BPF_NUMBERS: ReadonlyMap<string, number> = new Map([
  ["x64", 321],
  ["arm64", 280],
  ["riscv64", 280],
  ["loong64", 280],
  ["ppc64", 361],
]);

const thisProcess: SyscallEnvironment = {
  platform: process.platform,
  arch: process.arch,
  importKoffi: () => import("koffi"),
};

/**
 * Loads koffi and binds bpf(2).
 *
 * @throws OnehopError `ERR_ONEHOP_KERNEL`, reason `unsupported-platform` or `no-koffi`
 */
export async function loadBpfSyscall(environment: SyscallEnvironment = thisProcess): Promise<BpfSyscall> {
  const { platform, arch } = environment;
  const number = platform === "linux" ? BPF_NUMBERS.get(arch) : undefined;
  if (number === undefined) {
    const known = [...BPF_NUMBERS.keys()].join(", ");
    throw kernelError(
      "unsupported-platform",
      `eBPF maps can be read on Linux (${known}), and this process runs on ${platform} ${arch}; use another discovery source here`,
    );
  }
  return bindSyscall(await importKoffi(environment), number);
}

async function importKoffi(environment: SyscallEnvironment): Promise<KoffiModule> {
  try {
    return await environment.importKoffi();
  } catch (error) {
    throw koffiError(error);
  }
}

function koffiError(error: unknown): Error {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (code === "ERR_MODULE_NOT_FOUND") {
    return kernelError("no-koffi", "reading eBPF maps needs the package koffi: npm install koffi", error);
  }
  const permissionModel = code === "ERR_DLOPEN_DISABLED" ? "; under --permission also pass --allow-addons" : "";
  return kernelError(
    "no-koffi",
    `koffi does not load (${message}); try again: npm install koffi${permissionModel}`,
    error,
  );
}

function bindSyscall(koffi: KoffiModule, number: number): BpfSyscall {
  let syscall: (...args: unknown[]) => unknown;
  try {
    // `null` finds libc in the process itself, glibc and musl alike. The prototype has a fixed number of arguments
    // because all arguments of syscall(2) travel in the same registers either way, and koffi is faster so.
    syscall = koffi.load(null).func("long syscall(long number, int command, void *attr, uint32_t size)");
  } catch (error) {
    throw koffiError(error);
  }
  return {
    call(command, attr) {
      const result = Number(syscall(number, command, attr, attr.byteLength));
      // Any other native call, even one of `fs`, would overwrite errno: it is read at once and never handed out.
      return result < 0 ? -koffi.errno() : result;
    },
    addressOf: (buffer) => koffi.address(buffer),
  };
}
