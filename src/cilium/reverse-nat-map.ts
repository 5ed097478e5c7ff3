/**
 * `cilium_lb4_reverse_nat` and `cilium_lb6_reverse_nat`: the number that a service's entries carry leads back to the
 * frontend. A reader uses it to see that the entries it followed belong to the frontend it asked for.
 */
import { ipFamily } from "../model/ip-address.js";
import { LAYOUTS } from "./layouts.js";
import { StructView, wrongLength } from "./struct-view.js";

export interface Frontend {
  /** Canonical. */
  readonly address: string;
  readonly port: number;
}

type Field = keyof typeof LAYOUTS.cilium_lb4_reverse_nat.fields;

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` when the number is no integer from 0 to 65535 */
export function encodeReverseNatKey(revNat: number): Uint8Array {
  const view = keyView();
  view.setUint("rev_nat", revNat);
  return view.bytes;
}

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` for a wrong length */
export function decodeReverseNatKey(bytes: Uint8Array): number {
  return keyView(bytes).uint("rev_nat");
}

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` when a field does not fit */
export function encodeReverseNat(frontend: Frontend): Uint8Array {
  const { cilium_lb4_reverse_nat: ipv4, cilium_lb6_reverse_nat: ipv6 } = LAYOUTS;
  const view = valueView(new Uint8Array(ipFamily(frontend.address) === 6 ? ipv6.size : ipv4.size));
  view.setAddress("address", frontend.address);
  view.setUint("port", frontend.port);
  return view.bytes;
}

/**
 * @param bytes 6 for IPv4, 18 for IPv6
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` for another length
 */
export function decodeReverseNat(bytes: Uint8Array): Frontend {
  const view = valueView(bytes);
  return { address: view.address("address"), port: view.uint("port") };
}

function keyView(bytes?: Uint8Array): StructView<"rev_nat"> {
  return new StructView("cilium_lb{4,6}_reverse_nat key", LAYOUTS.cilium_lb_reverse_nat_key, bytes);
}

function valueView(bytes: Uint8Array): StructView<Field> {
  const { cilium_lb4_reverse_nat: ipv4, cilium_lb6_reverse_nat: ipv6 } = LAYOUTS;
  if (bytes.length === ipv4.size) return new StructView("cilium_lb4_reverse_nat value", ipv4, bytes);
  if (bytes.length === ipv6.size) return new StructView("cilium_lb6_reverse_nat value", ipv6, bytes);
  throw wrongLength("cilium_lb{4,6}_reverse_nat value", bytes, [ipv4.size, ipv6.size]);
}
