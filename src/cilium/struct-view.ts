import { OnehopError } from "../errors.js";
import { formatIpAddress, parseIpAddress } from "../model/ip-address.js";
import type { CodeTable } from "./code-table.js";
import type { FieldLayout, StructLayout } from "./layouts.js";

/**
 * The bytes of one map key or value, read and written by field name. Every complaint names the map, the field, what was
 * found and what was expected.
 */
export class StructView<Field extends string> {
  readonly bytes: Uint8Array;
  readonly #subject: string;
  readonly #layout: StructLayout<Field>;

  /**
   * @param subject the map and whether it is its key or value, for messages
   * @param bytes exactly as long as the layout; a new zeroed struct when absent
   * @throws OnehopError `ERR_ONEHOP_MALFORMED` for any other length
   */
  constructor(subject: string, layout: StructLayout<Field>, bytes: Uint8Array = new Uint8Array(layout.size)) {
    if (bytes.length !== layout.size) throw wrongLength(subject, bytes, [layout.size]);
    this.bytes = bytes;
    this.#subject = subject;
    this.#layout = layout;
  }

  uint(name: Field): number {
    return readUint(this.bytes, this.#layout.fields[name]);
  }

  /** @throws OnehopError `ERR_ONEHOP_MALFORMED` when `value` is no integer that fits the field */
  setUint(name: Field, value: number): void {
    const field = this.#layout.fields[name];
    const max = 2 ** (8 * field.size) - 1;
    if (!Number.isInteger(value) || value < 0 || value > max) {
      throw this.malformed(name, String(value), `an integer from 0 to ${max}`);
    }
    writeUint(this.bytes, field, value);
  }

  /** @throws OnehopError `ERR_ONEHOP_MALFORMED` when the field holds a number that `codes` does not name */
  code<Name extends string>(name: Field, codes: CodeTable<Name>): Name {
    const number = this.uint(name);
    const code = codes.nameOf(number);
    if (code === undefined) throw this.malformed(name, String(number), `one of ${codes.text}`);
    return code;
  }

  /** The field's own bytes, not a copy. */
  slice(name: Field): Uint8Array {
    const { offset, size } = this.#layout.fields[name];
    return this.bytes.subarray(offset, offset + size);
  }

  /** The IP address that fills the field, as canonical text. */
  address(name: Field): string {
    return formatIpAddress(this.slice(name));
  }

  /** @throws OnehopError `ERR_ONEHOP_MALFORMED` when `text` is no address of the field's family */
  setAddress(name: Field, text: string): void {
    const target = this.slice(name);
    const address = parseIpAddress(text);
    if (address === undefined) throw this.malformed(name, `"${text}"`, "an IP address");
    if (address.length !== target.length) {
      throw this.malformed(name, `"${text}"`, `an IPv${target.length === 4 ? 4 : 6} address`);
    }
    target.set(address);
  }

  /**
   * For padding in keys: the kernel compares keys byte by byte, so Cilium writes zeros.
   *
   * @throws OnehopError `ERR_ONEHOP_MALFORMED` when a byte of the field is not zero
   */
  requireZero(name: Field): void {
    if (this.slice(name).some((byte) => byte !== 0)) throw this.malformed(name, hex(this.slice(name)), "zero bytes");
  }

  malformed(name: Field, found: string, expected: string): OnehopError {
    return malformed(this.#subject, name, found, expected);
  }
}

export function malformed(subject: string, field: string, found: string, expected: string): OnehopError {
  return new OnehopError("ERR_ONEHOP_MALFORMED", `${subject}: ${field} is ${found}, expected ${expected}`);
}

export function wrongLength(subject: string, bytes: Uint8Array, sizes: readonly number[]): OnehopError {
  return malformed(subject, "length", `${bytes.length} bytes`, sizes.join(" or "));
}

/** Reads a field of up to four bytes. The caller has checked the length. */
export function readUint(bytes: Uint8Array, { offset, size, order }: FieldLayout): number {
  let value = 0;
  for (let index = 0; index < size; index += 1) {
    const place = order === "network" ? offset + index : offset + size - 1 - index;
    value = value * 256 + (bytes[place] ?? 0);
  }
  return value;
}

function writeUint(bytes: Uint8Array, { offset, size, order }: FieldLayout, value: number): void {
  let rest = value;
  for (let index = 0; index < size; index += 1) {
    const place = order === "network" ? offset + size - 1 - index : offset + index;
    bytes[place] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
