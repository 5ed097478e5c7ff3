/**
 * What the layers above see of the kernel: pinned eBPF maps that can be opened for reading and looked up.
 * `bpf-kernel.ts` does it with bpf(2), `fake-kernel.ts` in memory, byte for byte.
 */

/** Map types by their number in `enum bpf_map_type`. */
export type MapType = "hash" | "array" | "lpm_trie" | "lru_hash";

/** What a map must look like before a byte of it is read. */
export interface MapShape {
  readonly type: MapType;
  readonly keySize: number;
  /** Sizes that are accepted; several where versions differ. */
  readonly valueSizes: readonly number[];
}

/** What the kernel says of an open map. */
export interface MapInfo {
  /** The kernel's id of the map: another map pinned under the same path has another one. */
  readonly id: number;
  readonly type: MapType | `type ${number}`;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly name: string;
}

/** A map opened with BPF_F_RDONLY. */
export interface MapReader {
  readonly path: string;
  readonly info: MapInfo;
  /**
   * Copies the value of `key` into `value`.
   *
   * @param key exactly `info.keySize` bytes
   * @param value exactly `info.valueSize` bytes; untouched when the key is absent
   * @returns false when the map has no such key
   * @throws RangeError when a buffer has another size; OnehopError `ERR_ONEHOP_KERNEL` when the kernel refuses
   */
  lookup(key: Uint8Array, value: Uint8Array): boolean;
  /** Idempotent. Look-ups after it throw. */
  close(): void;
}

/** Opens pinned maps for reading. */
export interface Kernel {
  readonly kind: "real" | "simulated";
  /**
   * Opens the map pinned at `path` and checks its shape.
   *
   * @throws OnehopError `ERR_ONEHOP_KERNEL` whose `reason` is one of {@link KernelReason}
   */
  open(path: string, shape: MapShape): MapReader;
  /**
   * What names the pin: changes when another map is pinned at the same path (the inode of the pin, not of the fd), and
   * also when its mode or owner changes, so that a reader refused before tries again.
   *
   * @returns undefined when nothing is pinned there
   */
  pinStamp(path: string): string | undefined;
}

/** Why the kernel edge failed; each has a message that tells the fix. */
export type KernelReason =
  /** koffi is not installed or does not load. */
  | "no-koffi"
  /** Not Linux, or an architecture without a known bpf(2) number. */
  | "unsupported-platform"
  /** The path is not on a bpffs. */
  | "no-bpffs"
  /** No pin of that name (bpffs is there). */
  | "no-pin"
  /** EACCES: mode or owner of the pin or of a directory above it. */
  | "file-mode"
  /** EPERM under a seccomp filter. */
  | "seccomp"
  /** EPERM without a filter: a kernel before 5.19 wants CAP_BPF. */
  | "capability"
  /** Type, key size or value size differ from what was expected. */
  | "layout"
  /** Any other errno. */
  | "errno"
  /** Used after close. */
  | "closed";

/** The writing side, for tests, demo and lab, which make maps of their own. onehop never writes a map of Cilium. */
export interface WritableMap {
  readonly info: MapInfo;
  /** BPF_ANY: inserts or replaces. */
  update(key: Uint8Array, value: Uint8Array): void;
  /** @returns false when there was no such key */
  delete(key: Uint8Array): boolean;
  close(): void;
}

/** Creates and pins maps. */
export interface MapMaker {
  create(name: string, shape: MapShape & { readonly maxEntries: number }): WritableMap;
  /**
   * Pins at `path`, replacing a pin that this maker put there by another map as Cilium does: unlink, then pin. A pin
   * of anyone else is left alone, and the call fails: it could be one of Cilium's.
   */
  pin(map: WritableMap, path: string): void;
  /** Removes a pin of this maker; nothing happens when there is none. */
  unpin(path: string): void;
}
