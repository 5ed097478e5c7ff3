import type { BpfSyscall } from "./bpf-syscall.js";

/** The memory of one bpf(2) call: the attr and the areas it points to. */
export interface BpfFrame {
  readonly attr: Uint8Array;
  /** The attr again, for writing its fields. */
  readonly fields: DataView;
  readonly areas: readonly BpfArea[];
}

/** Memory that the kernel reads or writes. */
export interface BpfArea {
  readonly bytes: Uint8Array;
  readonly address: bigint;
}

const ALIGNMENT = 8;

/**
 * Lays an attr and its areas out in one ArrayBuffer. An address is a mere number to the garbage collector; since all
 * areas share the memory of the attr, whoever passes the attr to bpf(2) keeps every area alive for the call, by
 * construction.
 *
 * @param attrSize in bytes; the kernel takes what lies beyond as zero
 * @param areaSizes in bytes, each
 */
export function createBpfFrame(sys: BpfSyscall, attrSize: number, areaSizes: readonly number[]): BpfFrame {
  const align = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;
  const total = [attrSize, ...areaSizes].reduce((sum, size) => sum + align(size), 0);
  const memory = new ArrayBuffer(total);
  const base = sys.addressOf(new Uint8Array(memory));
  let offset = align(attrSize);
  const areas = areaSizes.map((size) => {
    const area = { bytes: new Uint8Array(memory, offset, size), address: base + BigInt(offset) };
    offset += align(size);
    return area;
  });
  return { attr: new Uint8Array(memory, 0, attrSize), fields: new DataView(memory, 0, attrSize), areas };
}
