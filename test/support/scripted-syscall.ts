import type { BpfSyscall } from "../../src/kernel/bpf-syscall.js";
import type { ProcessFacts, SystemProbe } from "../../src/kernel/system-probe.js";

/** Commands of bpf(2) by number. */
export const CREATE = 0;
export const LOOKUP = 1;
export const UPDATE = 2;
export const DELETE = 3;
export const PIN = 6;
export const GET = 7;
export const INFO = 15;

/** What a scripted kernel answers to each command: a result or -errno. */
export type Answers = Partial<Record<number, number>>;

/** A kernel that answers as told, and whose memory can be looked into. */
export interface ScriptedSyscall extends BpfSyscall {
  /** Every call so far: command and attr. */
  readonly calls: { readonly command: number; readonly attr: Uint8Array }[];
  /** The memory at an address that an attr carries. */
  memory(address: bigint, size: number): Uint8Array;
}

/** `info` is what BPF_OBJ_GET_INFO_BY_FD writes: the first fields of struct bpf_map_info. */
export function scriptedSyscall(
  answers: Answers,
  info = { type: 1, id: 77, keySize: 12, valueSize: 12, maxEntries: 16, name: "cilium_lb4_serv" },
): ScriptedSyscall {
  const memories: { readonly base: bigint; readonly buffer: ArrayBufferLike }[] = [];
  let nextBase = 0x7f00_0000_0000n;
  const calls: ScriptedSyscall["calls"] = [];
  function memory(address: bigint, size: number): Uint8Array {
    const found = memories.find(({ base, buffer }) => address >= base && address < base + BigInt(buffer.byteLength));
    if (found === undefined) throw new Error(`no memory at ${address}`);
    return new Uint8Array(found.buffer, Number(address - found.base), size);
  }
  return {
    calls,
    memory,
    call(command, attr) {
      calls.push({ command, attr: attr.slice() });
      const result = answers[command] ?? 0;
      if (command === INFO && result >= 0) {
        const fields = new DataView(attr.buffer, attr.byteOffset, attr.byteLength);
        const bytes = memory(fields.getBigUint64(8, true), fields.getUint32(4, true));
        const numbers = [info.type, info.id, info.keySize, info.valueSize, info.maxEntries, 0];
        bytes.set(new Uint8Array(new Uint32Array(numbers).buffer));
        bytes.set(new TextEncoder().encode(info.name), 24);
      }
      return result;
    },
    addressOf(buffer) {
      memories.push({ base: nextBase, buffer: buffer.buffer });
      nextBase += 0x1000n;
      return memories.at(-1)?.base ?? 0n;
    },
  };
}

const BPF_FS_MAGIC = 0xcafe4a11;

/** A probe of a machine where `/pins` is a bpffs and only `existing` is there; closed fds are noted, never closed. */
export function scriptedProbe(
  existing: Readonly<Record<string, { mode?: number; userId?: number; groupId?: number; isFile?: boolean }>>,
  facts: Partial<ProcessFacts> = {},
): SystemProbe & { readonly closed: number[] } {
  const closed: number[] = [];
  return {
    closed,
    stat(path) {
      const status = path === "/" ? { isFile: false } : existing[path];
      if (status === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
      return { device: 3n, inode: 5n, changedNs: 9n, mode: 0o600, userId: 0, groupId: 0, isFile: true, ...status };
    },
    fileSystemType: (path) => (path.startsWith("/pins") ? BPF_FS_MAGIC : 0x9123683e),
    process: () => {
      return {
        userId: 65534,
        groupIds: [65534],
        capabilities: 0n,
        isFiltered: false,
        kernelRelease: "6.1.0-18-amd64",
        ...facts,
      };
    },
    closeFd: (fd) => void closed.push(fd),
  };
}
