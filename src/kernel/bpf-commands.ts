/**
 * The commands of bpf(2) that onehop uses, with the layout of `union bpf_attr` for each, from the kernel's
 * `include/uapi/linux/bpf.h`. Every function returns what the kernel said: a result, or `-errno`. A field that a
 * command does not know must be zero (EINVAL otherwise), so each attr ends after the command's last field.
 */
import { type BpfArea, type BpfFrame, createBpfFrame } from "./bpf-frame.js";
import type { BpfSyscall } from "./bpf-syscall.js";
import type { MapInfo, MapType } from "./kernel.js";
import { kernelMapName } from "./map-shape.js";

const BPF_MAP_CREATE = 0;
const BPF_MAP_LOOKUP_ELEM = 1;
const BPF_MAP_UPDATE_ELEM = 2;
const BPF_MAP_DELETE_ELEM = 3;
const BPF_OBJ_PIN = 6;
const BPF_OBJ_GET = 7;
const BPF_OBJ_GET_INFO_BY_FD = 15;

const BPF_F_NO_PREALLOC = 1;
const BPF_F_RDONLY = 8;

/** `enum bpf_map_type`. */
const MAP_TYPES: Readonly<Record<MapType, number>> = { hash: 1, array: 2, lru_hash: 9, lpm_trie: 11 };

function area(frame: BpfFrame, index: number): BpfArea {
  const found = frame.areas[index];
  if (found === undefined) throw new RangeError(`the frame has no area ${index}`);
  return found;
}

function pathFrame(sys: BpfSyscall, path: string): BpfFrame {
  const text = new TextEncoder().encode(path);
  const frame = createBpfFrame(sys, 16, [text.byteLength + 1]);
  const { bytes, address } = area(frame, 0);
  bytes.set(text);
  frame.fields.setBigUint64(0, address, true); // pathname
  return frame;
}

/** Opens a pin with BPF_F_RDONLY: asks for read permission only, and the kernel refuses every write through the fd. */
export function getPinned(sys: BpfSyscall, path: string): number {
  const frame = pathFrame(sys, path);
  frame.fields.setUint32(12, BPF_F_RDONLY, true); // file_flags
  return sys.call(BPF_OBJ_GET, frame.attr);
}

/** Pins a map fd at a path that must not exist yet. */
export function pinFd(sys: BpfSyscall, fd: number, path: string): number {
  const frame = pathFrame(sys, path);
  frame.fields.setUint32(8, fd, true); // bpf_fd
  return sys.call(BPF_OBJ_PIN, frame.attr);
}

/** Creates a map. As with Cilium, hash and trie elements are not allocated in advance. */
export function createMap(
  sys: BpfSyscall,
  name: string,
  map: { type: MapType; keySize: number; valueSize: number; maxEntries: number },
): number {
  const frame = createBpfFrame(sys, 48, []);
  const { fields } = frame;
  fields.setUint32(0, MAP_TYPES[map.type], true); // map_type
  fields.setUint32(4, map.keySize, true); // key_size
  fields.setUint32(8, map.valueSize, true); // value_size
  fields.setUint32(12, map.maxEntries, true); // max_entries
  fields.setUint32(16, map.type === "hash" || map.type === "lpm_trie" ? BPF_F_NO_PREALLOC : 0, true); // map_flags
  frame.attr.set(new TextEncoder().encode(kernelMapName(name)), 28); // map_name[16]
  return sys.call(BPF_MAP_CREATE, frame.attr);
}

/** What `struct bpf_map_info` says up to the name; kernels before 4.15 leave the name empty. */
export function readMapInfo(sys: BpfSyscall, fd: number): MapInfo | number {
  const frame = createBpfFrame(sys, 16, [40]);
  const { bytes, address } = area(frame, 0);
  frame.fields.setUint32(0, fd, true); // bpf_fd
  frame.fields.setUint32(4, bytes.byteLength, true); // info_len
  frame.fields.setBigUint64(8, address, true); // info
  const result = sys.call(BPF_OBJ_GET_INFO_BY_FD, frame.attr);
  if (result < 0) return result;
  const info = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const typeNumber = info.getUint32(0, true);
  const type = (Object.keys(MAP_TYPES) as MapType[]).find((known) => MAP_TYPES[known] === typeNumber);
  const name = bytes.subarray(24, 40);
  const end = name.indexOf(0);
  return {
    type: type ?? `type ${typeNumber}`,
    id: info.getUint32(4, true),
    keySize: info.getUint32(8, true),
    valueSize: info.getUint32(12, true),
    maxEntries: info.getUint32(16, true),
    name: new TextDecoder().decode(end < 0 ? name : name.subarray(0, end)),
  };
}

/** The element commands on one map. Buffers must have the map's sizes: the caller checks. */
export interface MapElements {
  /** Fills `value` when the result is 0. */
  lookup(key: Uint8Array, value: Uint8Array): number;
  /** BPF_ANY: inserts or replaces. */
  update(key: Uint8Array, value: Uint8Array): number;
  remove(key: Uint8Array): number;
}

/**
 * Prepares the element commands on `fd`. Key and value pass through memory of its own, sized by what the kernel said
 * of the map, so nothing that a caller hands in can be overrun, and a call allocates nothing.
 */
export function createMapElements(sys: BpfSyscall, fd: number, info: MapInfo): MapElements {
  const frame = createBpfFrame(sys, 32, [info.keySize, info.valueSize]);
  const ownKey = area(frame, 0);
  const ownValue = area(frame, 1);
  frame.fields.setUint32(0, fd, true); // map_fd
  frame.fields.setBigUint64(8, ownKey.address, true); // key
  frame.fields.setBigUint64(16, ownValue.address, true); // value; flags stay 0, BPF_ANY
  // DELETE does not know the value field.
  const keyOnly = frame.attr.subarray(0, 16);
  return {
    lookup(key, value) {
      ownKey.bytes.set(key);
      const result = sys.call(BPF_MAP_LOOKUP_ELEM, frame.attr);
      if (result >= 0) value.set(ownValue.bytes);
      return result;
    },
    update(key, value) {
      ownKey.bytes.set(key);
      ownValue.bytes.set(value);
      return sys.call(BPF_MAP_UPDATE_ELEM, frame.attr);
    },
    remove(key) {
      ownKey.bytes.set(key);
      return sys.call(BPF_MAP_DELETE_ELEM, keyOnly);
    },
  };
}
