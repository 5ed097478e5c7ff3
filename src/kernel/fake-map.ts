/**
 * The element semantics of the kernel's map types, in memory: exact keys for `hash`, a bounded `lru_hash`, preset
 * elements for `array`, longest prefix match for `lpm_trie`. Results are 0 or `-errno`, as in `kernel/bpf/hashtab.c`,
 * `arraymap.c` and `lpm_trie.c` of Linux 6.18.
 */
import { errno } from "./diagnosis.js";
import type { MapInfo } from "./kernel.js";

/** One element. */
export interface FakeElement {
  value: Uint8Array;
  /** What it held before its last write: the memory a torn read may show. */
  previous: Uint8Array | undefined;
}

/** The elements of one map. Keys and values must have the map's sizes: the caller checks. */
export interface FakeMap {
  readonly info: MapInfo;
  find(key: Uint8Array): FakeElement | undefined;
  /** BPF_ANY. Takes a copy of `value`. */
  put(key: Uint8Array, value: Uint8Array): number;
  remove(key: Uint8Array): number;
  /** In order of insertion. */
  elements(): Iterable<FakeElement>;
}

const TRIE_PREFIX_LENGTH_SIZE = 4;
const TRIE_LARGEST_DATA_SIZE = 256;

/** Makes an empty map, or gives `-EINVAL` where the kernel refuses such a shape. */
export function createFakeMap(info: MapInfo): FakeMap | number {
  const { type, keySize, valueSize, maxEntries } = info;
  if (keySize < 1 || valueSize < 1 || maxEntries < 1) return -errno.EINVAL;
  switch (type) {
    case "hash":
    case "lru_hash":
      return createHash(info);
    case "array":
      return keySize === 4 ? createArray(info) : -errno.EINVAL;
    case "lpm_trie": {
      const dataSize = keySize - TRIE_PREFIX_LENGTH_SIZE;
      return dataSize >= 1 && dataSize <= TRIE_LARGEST_DATA_SIZE ? createTrie(info) : -errno.EINVAL;
    }
    default:
      return -errno.EINVAL;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

function write(element: FakeElement, value: Uint8Array): void {
  element.previous = element.value;
  element.value = value.slice();
}

function createHash(info: MapInfo): FakeMap {
  const elements = new Map<string, FakeElement>();
  return {
    info,
    find: (key) => elements.get(textOf(key)),
    put(key, value) {
      const text = textOf(key);
      const existing = elements.get(text);
      if (existing === undefined && elements.size >= info.maxEntries) {
        if (info.type === "hash") return -errno.E2BIG;
        // The kernel evicts in batches and by its own lists; here it is the element that was written first.
        const [oldest] = elements.keys();
        if (oldest !== undefined) elements.delete(oldest);
      }
      if (existing === undefined) elements.set(text, { value: value.slice(), previous: undefined });
      else write(existing, value);
      return 0;
    },
    remove: (key) => (elements.delete(textOf(key)) ? 0 : -errno.ENOENT),
    elements: () => elements.values(),
  };
}

function createArray(info: MapInfo): FakeMap {
  const elements = Array.from({ length: info.maxEntries }, (): FakeElement => {
    return { value: new Uint8Array(info.valueSize), previous: undefined };
  });
  const at = (key: Uint8Array): FakeElement | undefined =>
    elements[new DataView(key.buffer, key.byteOffset, 4).getUint32(0, true)];
  return {
    info,
    find: at,
    put(key, value) {
      const element = at(key);
      if (element === undefined) return -errno.E2BIG;
      write(element, value);
      return 0;
    },
    remove: () => -errno.EINVAL,
    elements: () => elements,
  };
}

/** A trie key is the prefix length in bits (u32 in the machine's order), then the data, most significant bit first. */
function createTrie(info: MapInfo): FakeMap {
  const longest = (info.keySize - TRIE_PREFIX_LENGTH_SIZE) * 8;
  /** Elements by prefix length, then by the prefix itself. */
  const byLength = new Map<number, Map<string, FakeElement>>();
  let count = 0;
  const lengthOf = (key: Uint8Array): number => new DataView(key.buffer, key.byteOffset, 4).getUint32(0, true);
  return {
    info,
    find(key) {
      const limit = lengthOf(key);
      if (limit > longest) return undefined;
      for (const length of [...byLength.keys()].sort((a, b) => b - a)) {
        const element = length > limit ? undefined : byLength.get(length)?.get(prefixOf(key, length));
        if (element !== undefined) return element;
      }
      return undefined;
    },
    put(key, value) {
      const length = lengthOf(key);
      if (length > longest) return -errno.EINVAL;
      const prefix = prefixOf(key, length);
      const existing = byLength.get(length)?.get(prefix);
      if (existing !== undefined) {
        write(existing, value);
        return 0;
      }
      if (count >= info.maxEntries) return -errno.ENOSPC;
      const sameLength = byLength.get(length) ?? new Map<string, FakeElement>();
      byLength.set(length, sameLength.set(prefix, { value: value.slice(), previous: undefined }));
      count += 1;
      return 0;
    },
    remove(key) {
      const length = lengthOf(key);
      if (length > longest) return -errno.EINVAL;
      const sameLength = byLength.get(length);
      if (sameLength?.delete(prefixOf(key, length)) !== true) return -errno.ENOENT;
      if (sameLength.size === 0) byLength.delete(length);
      count -= 1;
      return 0;
    },
    elements: () => [...byLength.values()].flatMap((sameLength) => [...sameLength.values()]),
  };
}

/** The first `length` bits of a trie key's data, as text; the bits after them do not count. */
function prefixOf(key: Uint8Array, length: number): string {
  const bytes = key.slice(TRIE_PREFIX_LENGTH_SIZE, TRIE_PREFIX_LENGTH_SIZE + Math.ceil(length / 8));
  const last = bytes.length - 1;
  const partial = length % 8;
  if (partial !== 0) bytes[last] = (bytes[last] ?? 0) & (0xff << (8 - partial));
  return textOf(bytes);
}
