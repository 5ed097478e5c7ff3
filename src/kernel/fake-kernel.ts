/**
 * A kernel in memory: maps, pins, inodes and map ids behave as the real ones do, byte for byte, so that everything
 * above can be tested, simulated and shown without privilege. Beyond that it can be made to lie in each way a real
 * look-up can; the ready-made lies are in `fake-tears.ts`.
 */
import type { OnehopError } from "../errors.js";
import { errno, errnoText } from "./diagnosis.js";
import { createFakeMap, type FakeElement, type FakeMap } from "./fake-map.js";
import type { Kernel, KernelReason, MapInfo, MapMaker, MapReader, WritableMap } from "./kernel.js";
import { closedError, kernelError } from "./kernel-error.js";
import { kernelMapName, onlyValueSize, requireSize, shapeMismatch } from "./map-shape.js";

/** A look-up that has just been answered, as a hook sees it. */
export interface FakeLookup {
  readonly path: string;
  readonly key: Uint8Array;
  /** The true answer; undefined when the map has no such key. */
  readonly value: Uint8Array | undefined;
  /** What this element held before its last write. */
  readonly previous: Uint8Array | undefined;
  /** The values of the map's other elements, in order of insertion. */
  others(): readonly Uint8Array[];
}

/** Another answer than the true one: a value of the map's value size, or `absent`. undefined leaves it as it is. */
export type FakeAnswer = Uint8Array | "absent" | undefined;

/** Sees every answer before the reader does and may replace it. */
export type LookupHook = (lookup: FakeLookup) => FakeAnswer;

/** Runs before a look-up is answered; what it writes is seen by that look-up. */
export type BeforeLookupHook = (path: string, key: Uint8Array) => void;

/** {@link Kernel} and {@link MapMaker} in memory, with handles for tests. */
export interface FakeKernel extends Kernel, MapMaker {
  readonly kind: "simulated";
  /** Installs a hook on answers; hooks run in order, each seeing the answer of the one before. @returns its removal */
  onLookup(hook: LookupHook): () => void;
  /** Installs a hook that runs before each look-up. @returns its removal */
  beforeLookup(hook: BeforeLookupHook): () => void;
  /** Makes every `open(path)` fail with `reason` until {@link FakeKernel.allowOpen}; open readers are not touched. */
  failOpen(path: string, reason: KernelReason): void;
  allowOpen(path: string): void;
  /** How many look-ups readers of `path` have made. */
  lookupCount(path: string): number;
  /** How many readers of `path` are open: those not closed are leaks. */
  openReaders(path: string): number;
}

interface Pin {
  readonly map: FakeMap;
  readonly inode: number;
}

/** The one device all fake pins are on. */
const DEVICE = 1;

/** Makes an empty fake kernel. */
export function createFakeKernel(): FakeKernel {
  const pins = new Map<string, Pin>();
  const mapsByHandle = new WeakMap<WritableMap, () => FakeMap>();
  const failures = new Map<string, KernelReason>();
  const lookups = new Map<string, number>();
  const readers = new Map<string, number>();
  const answerHooks = new Set<LookupHook>();
  const beforeHooks = new Set<BeforeLookupHook>();
  let lastMapId = 0;
  let lastInode = 0;

  function answer(map: FakeMap, path: string, key: Uint8Array): Uint8Array | undefined {
    add(lookups, path, 1);
    for (const hook of beforeHooks) hook(path, key.slice());
    const element = map.find(key);
    let value = element?.value;
    for (const hook of answerHooks) {
      const replacement = hook(describeLookup(map, path, key, element, value));
      if (replacement === "absent") value = undefined;
      else if (replacement !== undefined) value = replacement;
    }
    return value;
  }

  return {
    kind: "simulated",
    create(name, shape) {
      const { type, keySize, maxEntries } = shape;
      const valueSize = onlyValueSize(shape);
      const info: MapInfo = { id: lastMapId + 1, type, keySize, valueSize, maxEntries, name: kernelMapName(name) };
      const map = createFakeMap(info);
      if (typeof map === "number") throw errnoError(`cannot create the map ${name}`, map);
      lastMapId = info.id;
      const owned = createWritableFake(map);
      mapsByHandle.set(owned.handle, owned.map);
      return owned.handle;
    },
    pin(handle, path) {
      const map = mapsByHandle.get(handle);
      if (map === undefined) throw new TypeError("this map was made by another map maker, which alone can pin it");
      lastInode += 1;
      pins.set(path, { map: map(), inode: lastInode });
    },
    unpin: (path) => void pins.delete(path),
    open(path, shape) {
      const failure = failures.get(path);
      if (failure !== undefined) throw kernelError(failure, `cannot open ${path}: made to fail with "${failure}"`);
      const pin = pins.get(path);
      if (pin === undefined) throw kernelError("no-pin", `nothing is pinned at ${path} in this fake kernel`);
      const mismatch = shapeMismatch(path, pin.map.info, shape);
      if (mismatch !== undefined) throw mismatch;
      add(readers, path, 1);
      return createFakeReader(pin.map, path, answer, () => add(readers, path, -1));
    },
    pinStamp(path) {
      const pin = pins.get(path);
      return pin === undefined ? undefined : `${DEVICE}:${pin.inode}`;
    },
    onLookup: (hook) => install(answerHooks, hook),
    beforeLookup: (hook) => install(beforeHooks, hook),
    failOpen: (path, reason) => void failures.set(path, reason),
    allowOpen: (path) => void failures.delete(path),
    lookupCount: (path) => lookups.get(path) ?? 0,
    openReaders: (path) => readers.get(path) ?? 0,
  };
}

function add(counts: Map<string, number>, key: string, amount: number): void {
  counts.set(key, (counts.get(key) ?? 0) + amount);
}

function install<Hook>(hooks: Set<Hook>, hook: Hook): () => void {
  hooks.add(hook);
  return () => void hooks.delete(hook);
}

function errnoError(action: string, result: number): OnehopError {
  return kernelError("errno", `${action}: ${errnoText(result)}`);
}

function describeLookup(
  map: FakeMap,
  path: string,
  key: Uint8Array,
  element: FakeElement | undefined,
  value: Uint8Array | undefined,
): FakeLookup {
  return {
    path,
    key: key.slice(),
    value: value?.slice(),
    previous: element?.previous?.slice(),
    others: () => [...map.elements()].filter((other) => other !== element).map((other) => other.value.slice()),
  };
}

function createFakeReader(
  map: FakeMap,
  path: string,
  answer: (map: FakeMap, path: string, key: Uint8Array) => Uint8Array | undefined,
  onClose: () => void,
): MapReader {
  const { info } = map;
  let isOpen = true;
  return {
    path,
    info,
    lookup(key, value) {
      if (!isOpen) throw closedError(`the reader of ${path}`);
      requireSize("key", key, info.keySize);
      requireSize("value", value, info.valueSize);
      const found = answer(map, path, key);
      if (found === undefined) return false;
      requireSize("value", found, info.valueSize);
      value.set(found);
      return true;
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      onClose();
    },
  };
}

function createWritableFake(map: FakeMap): { handle: WritableMap; map: () => FakeMap } {
  const { info } = map;
  let isOpen = true;
  function open(): FakeMap {
    if (!isOpen) throw closedError(`the map "${info.name}"`);
    return map;
  }
  const handle: WritableMap = {
    info,
    update(key, value) {
      open();
      requireSize("key", key, info.keySize);
      requireSize("value", value, info.valueSize);
      const result = map.put(key, value);
      if (result < 0) throw errnoError(`cannot write to the map "${info.name}"`, result);
    },
    delete(key) {
      open();
      requireSize("key", key, info.keySize);
      const result = map.remove(key);
      if (result >= 0) return true;
      if (result === -errno.ENOENT) return false;
      throw errnoError(`cannot delete from the map "${info.name}"`, result);
    },
    close() {
      isOpen = false;
    },
  };
  return { handle, map: open };
}
