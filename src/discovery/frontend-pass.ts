import { LAYOUTS } from "../cilium/layouts.js";
import type { Protocol } from "../cilium/protocol.js";
import { hasTwoScopes } from "../cilium/service-flags.js";
import {
  decodeServiceMaster,
  encodeServiceKey,
  type ServiceMaster,
  type ServiceScope,
  setServiceKeySlot,
} from "../cilium/service-map.js";
import type { FamilyMaps } from "./map-set.js";

/** What one element of a map gave in a pass. */
export interface PassEntry {
  readonly isPresent: boolean;
  readonly value: Uint8Array;
}

/** One slot of a frontend with the backend it names. */
export interface PassSlot {
  readonly slot: number;
  readonly service: PassEntry;
  readonly backend: PassEntry;
}

/** Where the master was found: exact protocol before `any`, the internal scope where there are two. */
const VARIANTS: readonly { readonly protocol: Protocol; readonly scope: ServiceScope }[] = [
  { protocol: "tcp", scope: "external" },
  { protocol: "any", scope: "external" },
  { protocol: "tcp", scope: "internal" },
  { protocol: "any", scope: "internal" },
];
const NO_MASTER = 255;
const INTERNAL_OFFSET = 2;

/** Slot numbers have 16 bits. */
const LAST_SLOT = 65_535;

/**
 * So many slots missing in a row end a pass: a master that was torn while it was read may count tens of thousands, and
 * an agent that works on a service, or died doing so, leaves few.
 */
const MOST_MISSING = 64;

const SERVICE_BYTES = LAYOUTS.cilium_lb_service.size;
const BACKEND_ID_BYTES = LAYOUTS.cilium_lb_backend_key.size;
const { offset: BACKEND_ID_OFFSET } = LAYOUTS.cilium_lb_service.fields.backend_id;

/**
 * Reads everything that makes up one frontend, once: the master, its slots, the backends these name. The outcome is a
 * run of bytes, so that "nothing has changed" is one comparison and nothing is decoded for it.
 *
 * Layout: variant of the master's key (255: none) · master · for each slot present byte and value · for each slot
 * present byte and value of its backend.
 */
export class FrontendPass {
  readonly #maps: FamilyMaps;
  readonly #keys: readonly Uint8Array[];
  readonly #backendKey: Uint8Array = new Uint8Array(BACKEND_ID_BYTES);
  readonly #serviceValue: Uint8Array = new Uint8Array(SERVICE_BYTES);
  readonly #backendValue: Uint8Array;
  #bytes: Uint8Array = new Uint8Array(1_024);
  #length = 0;

  constructor(maps: FamilyMaps, address: string, port: number) {
    this.#maps = maps;
    this.#keys = VARIANTS.map(({ protocol, scope }) => encodeServiceKey({ address, port, slot: 0, protocol, scope }));
    this.#backendValue = new Uint8Array(maps.backends.info.valueSize);
  }

  /** The bytes of the last pass; valid until the next one. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Whether the last pass read exactly `other`. */
  equals(other: Uint8Array): boolean {
    return Buffer.compare(this.bytes, other) === 0;
  }

  /**
   * Reads the frontend. Bad bytes are no error here: they are judged when the pass is looked at.
   *
   * @throws OnehopError `ERR_ONEHOP_KERNEL` when a map cannot be read
   */
  read(): void {
    this.#length = 0;
    const variant = this.#readMaster();
    if (variant === undefined) {
      this.#append(NO_MASTER);
      return;
    }
    this.#append(variant);
    this.#appendBytes(this.#serviceValue);
    const { count, qcount } = decodeServiceMaster(this.#serviceValue);
    const slotsAt = this.#length;
    const slots = this.#readSlots(this.#keys[variant] as Uint8Array, Math.min(count + qcount, LAST_SLOT));
    for (let index = 0; index < slots; index += 1) {
      const idAt = slotsAt + index * (1 + SERVICE_BYTES) + 1 + BACKEND_ID_OFFSET;
      this.#backendKey.set(this.#bytes.subarray(idAt, idAt + BACKEND_ID_BYTES));
      this.#appendLookup(this.#maps.backends.lookup(this.#backendKey, this.#backendValue), this.#backendValue);
    }
  }

  /** @returns how many slots were read: fewer than `most` when too many are missing */
  #readSlots(key: Uint8Array, most: number): number {
    let slot = 0;
    try {
      for (let missing = 0; slot < most && missing < MOST_MISSING; ) {
        slot += 1;
        setServiceKeySlot(key, slot);
        const isPresent = this.#maps.services.lookup(key, this.#serviceValue);
        missing = isPresent ? 0 : missing + 1;
        this.#appendLookup(isPresent, this.#serviceValue);
      }
    } finally {
      setServiceKeySlot(key, 0);
    }
    return slot;
  }

  /** Leaves the master in `#serviceValue`. */
  #readMaster(): number | undefined {
    for (const external of [0, 1]) {
      if (!this.#lookupMaster(external)) continue;
      if (!hasTwoScopes(decodeServiceMaster(this.#serviceValue).flags)) return external;
      // A frontend with two scopes serves calls from inside the cluster by its internal one.
      const internal = external + INTERNAL_OFFSET;
      return this.#lookupMaster(internal) ? internal : undefined;
    }
    return undefined;
  }

  #lookupMaster(variant: number): boolean {
    return this.#maps.services.lookup(this.#keys[variant] as Uint8Array, this.#serviceValue);
  }

  #appendLookup(isPresent: boolean, value: Uint8Array): void {
    this.#append(isPresent ? 1 : 0);
    if (!isPresent) value.fill(0);
    this.#appendBytes(value);
  }

  #append(byte: number): void {
    this.#reserve(1);
    this.#bytes[this.#length] = byte;
    this.#length += 1;
  }

  #appendBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

/** A pass taken apart. */
export type PassContent =
  | { readonly isPresent: false }
  | {
      readonly isPresent: true;
      readonly protocol: Protocol;
      readonly scope: ServiceScope;
      readonly master: ServiceMaster;
      /** Fewer than the master counts when the pass was ended early. */
      readonly slots: readonly PassSlot[];
    };

/** Takes the bytes of a pass apart. @param backendBytes value size of the backends map */
export function passContent(bytes: Uint8Array, backendBytes: number): PassContent {
  const variant = VARIANTS[bytes[0] ?? NO_MASTER];
  if (variant === undefined) return { isPresent: false };
  const master = decodeServiceMaster(bytes.subarray(1, 1 + SERVICE_BYTES));
  const slotsAt = 1 + SERVICE_BYTES;
  const count = (bytes.length - slotsAt) / (1 + SERVICE_BYTES + 1 + backendBytes);
  const backendsAt = slotsAt + count * (1 + SERVICE_BYTES);
  const slots = Array.from({ length: count }, (_, index) => ({
    slot: index + 1,
    service: entryAt(bytes, slotsAt + index * (1 + SERVICE_BYTES), SERVICE_BYTES),
    backend: entryAt(bytes, backendsAt + index * (1 + backendBytes), backendBytes),
  }));
  return { isPresent: true, ...variant, master, slots };
}

function entryAt(bytes: Uint8Array, offset: number, size: number): PassEntry {
  return { isPresent: bytes[offset] === 1, value: bytes.subarray(offset + 1, offset + 1 + size) };
}
