import { OnehopError } from "../errors.js";
import type { KernelReason } from "./kernel.js";

/** Makes an `ERR_ONEHOP_KERNEL` error; the message must tell the fix. */
export function kernelError(reason: KernelReason, message: string, cause?: unknown): OnehopError {
  return new OnehopError("ERR_ONEHOP_KERNEL", message, cause === undefined ? { reason } : { reason, cause });
}

/** The error of every use after `close()`. */
export function closedError(what: string): OnehopError {
  return kernelError("closed", `${what} was closed; open it again before use`);
}
