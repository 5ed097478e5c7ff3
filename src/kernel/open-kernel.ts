import { createBpfKernel } from "./bpf-kernel.js";
import { loadBpfSyscall } from "./bpf-syscall.js";
import type { Kernel } from "./kernel.js";

/**
 * Loads koffi and gives the kernel this process runs on.
 *
 * @throws OnehopError `ERR_ONEHOP_KERNEL`, reason `unsupported-platform` or `no-koffi`
 */
export async function openKernel(): Promise<Kernel> {
  return createBpfKernel(await loadBpfSyscall());
}
