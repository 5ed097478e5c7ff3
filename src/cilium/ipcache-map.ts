/**
 * `cilium_ipcache_v2` (from 1.18) and `cilium_ipcache` (up to 1.17): an address prefix leads to a security identity and
 * to the node behind it. Both are tries of longest prefix: a look-up with a full host prefix finds the most specific
 * entry. From `bpf/lib/eps.h` and `pkg/maps/ipcache/ipcache.go` of Cilium.
 */
import { formatIpAddress, parseIpAddress } from "../model/ip-address.js";
import { CONSTANTS, LAYOUTS } from "./layouts.js";
import { malformed, readUint, StructView, wrongLength } from "./struct-view.js";

export interface IpcacheKey {
  /** Canonical, with zeros past the prefix: other bits there mean nothing to a trie. */
  readonly address: string;
  /** 0 to 32 for IPv4, 0 to 128 for IPv6; the full length names one host. */
  readonly prefixLength: number;
  /** Always 0 in open-source Cilium, for entries of remote clusters too. */
  readonly clusterId: number;
}

export interface IpcacheValue {
  /** Security identity, at offset 0 in all versions. */
  readonly identity: number;
  /** Address of the node that hosts the pod; undefined on this node and mostly without tunnels. */
  readonly tunnelEndpoint: string | undefined;
  /** Index of the encryption key, 0 for none; undefined in v1, which kept it at different places. */
  readonly encryptKey: number | undefined;
  readonly skipTunnel: boolean;
  /** Undefined in v1, which has no such flag. */
  readonly hasTunnel: boolean | undefined;
  /** Set on nodes of other clusters by late versions: says nothing of pods. Undefined in v1, which has no such flag. */
  readonly remoteCluster: boolean | undefined;
}

/** Which layout of the value: 1 in `cilium_ipcache` (12 bytes), 2 in `cilium_ipcache_v2` (24 bytes). */
export type IpcacheVersion = 1 | 2;

const KEY = "cilium_ipcache key";
const V1 = "cilium_ipcache value";
const V2 = "cilium_ipcache_v2 value";
const {
  CILIUM_IPCACHE_STATIC_PREFIX: STATIC_PREFIX,
  CILIUM_IPCACHE_SKIP_TUNNEL: SKIP_TUNNEL,
  CILIUM_IPCACHE_HAS_TUNNEL: HAS_TUNNEL,
  CILIUM_IPCACHE_IPV6_TUNNEL: IPV6_TUNNEL,
  CILIUM_IPCACHE_REMOTE_CLUSTER: REMOTE_CLUSTER,
} = CONSTANTS;

/**
 * The key of an address, or of a prefix.
 *
 * @param prefixLength default: the whole address, as for a look-up
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` when `address` is no IP address or the prefix is longer than it
 */
export function encodeIpcacheKey(address: string, prefixLength?: number): Uint8Array {
  const ip = parseIpAddress(address);
  if (ip === undefined) throw malformed(KEY, "ip", `"${address}"`, "an IP address");
  const bits = ip.length * 8;
  const prefix = prefixLength ?? bits;
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > bits) {
    throw malformed(KEY, "prefixlen", `${prefix} bits of address`, `0 to ${bits}`);
  }
  const view = new StructView(KEY, LAYOUTS.cilium_ipcache_key);
  view.setUint("prefixlen", STATIC_PREFIX + prefix);
  view.setUint("family", familyNumber(ip.length));
  view.slice("ip").set(masked(ip, prefix));
  return view.bytes;
}

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` for a wrong length, family or prefix length, and for non-zero padding */
export function decodeIpcacheKey(bytes: Uint8Array): IpcacheKey {
  const view = new StructView(KEY, LAYOUTS.cilium_ipcache_key, bytes);
  view.requireZero("pad");
  const family = view.uint("family");
  const isIpv4 = family === CONSTANTS.CILIUM_IPCACHE_FAMILY_IPV4;
  if (!isIpv4 && family !== CONSTANTS.CILIUM_IPCACHE_FAMILY_IPV6) {
    throw view.malformed("family", String(family), "1 (IPv4) or 2 (IPv6)");
  }
  const size = isIpv4 ? 4 : 16;
  const prefixLength = view.uint("prefixlen") - STATIC_PREFIX;
  if (prefixLength < 0 || prefixLength > size * 8) {
    const found = String(view.uint("prefixlen"));
    throw view.malformed("prefixlen", found, `${STATIC_PREFIX} to ${STATIC_PREFIX + size * 8}`);
  }
  const ip = view.slice("ip");
  if (ip.subarray(size).some((byte) => byte !== 0)) {
    throw view.malformed("ip", formatIpAddress(ip), "zero bytes after the IPv4 address");
  }
  const address = formatIpAddress(masked(ip.subarray(0, size), prefixLength));
  return { address, prefixLength, clusterId: view.uint("cluster_id") };
}

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` when a field does not fit or `version` has no room for it */
export function encodeIpcacheValue(value: IpcacheValue, version: IpcacheVersion): Uint8Array {
  return version === 1 ? encodeV1(value) : encodeV2(value);
}

/**
 * @param bytes 12 (v1) or 24 (v2)
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` for another length
 */
export function decodeIpcacheValue(bytes: Uint8Array): IpcacheValue {
  if (bytes.length === LAYOUTS.cilium_ipcache_value_v1.size) return decodeV1(bytes);
  if (bytes.length === LAYOUTS.cilium_ipcache_value_v2.size) return decodeV2(bytes);
  const sizes = [LAYOUTS.cilium_ipcache_value_v1.size, LAYOUTS.cilium_ipcache_value_v2.size];
  throw wrongLength("cilium_ipcache value", bytes, sizes);
}

/**
 * The security identity in a value of any version, without decoding the rest.
 *
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` when there are less than four bytes
 */
export function identityOfIpcacheValue(value: Uint8Array): number {
  const field = LAYOUTS.cilium_ipcache_value_v2.fields.sec_identity;
  if (value.length < field.size)
    throw malformed("cilium_ipcache value", "length", `${value.length} bytes`, "at least 4");
  return readUint(value, field);
}

function encodeV1(value: IpcacheValue): Uint8Array {
  const view = new StructView(V1, LAYOUTS.cilium_ipcache_value_v1);
  if (value.encryptKey !== undefined) throw view.malformed("key", String(value.encryptKey), "undefined in v1");
  if (value.hasTunnel !== undefined || value.remoteCluster !== undefined) {
    throw view.malformed("flags", "hasTunnel or remoteCluster", "undefined in v1");
  }
  view.setUint("sec_identity", value.identity);
  if (value.tunnelEndpoint !== undefined) view.setAddress("tunnel_endpoint", value.tunnelEndpoint);
  view.setUint("flags", value.skipTunnel ? SKIP_TUNNEL : 0);
  return view.bytes;
}

function decodeV1(bytes: Uint8Array): IpcacheValue {
  const view = new StructView(V1, LAYOUTS.cilium_ipcache_value_v1, bytes);
  return {
    identity: view.uint("sec_identity"),
    tunnelEndpoint: addressUnlessZero(view.slice("tunnel_endpoint")),
    encryptKey: undefined,
    skipTunnel: (view.uint("flags") & SKIP_TUNNEL) !== 0,
    hasTunnel: undefined,
    remoteCluster: undefined,
  };
}

function encodeV2(value: IpcacheValue): Uint8Array {
  const view = new StructView(V2, LAYOUTS.cilium_ipcache_value_v2);
  const node = value.tunnelEndpoint === undefined ? new Uint8Array(0) : parseIpAddress(value.tunnelEndpoint);
  if (node === undefined) throw view.malformed("tunnel_endpoint", `"${value.tunnelEndpoint}"`, "an IP address");
  view.setUint("sec_identity", value.identity);
  view.slice("tunnel_endpoint").set(node);
  view.setUint("key", value.encryptKey ?? 0);
  const skip = value.skipTunnel ? SKIP_TUNNEL : 0;
  const has = (value.hasTunnel ?? value.tunnelEndpoint !== undefined) ? HAS_TUNNEL : 0;
  const ipv6 = node.length === 16 ? IPV6_TUNNEL : 0;
  const remote = value.remoteCluster ? REMOTE_CLUSTER : 0;
  view.setUint("flags", skip | has | ipv6 | remote);
  return view.bytes;
}

function decodeV2(bytes: Uint8Array): IpcacheValue {
  const view = new StructView(V2, LAYOUTS.cilium_ipcache_value_v2, bytes);
  const flags = view.uint("flags");
  const node = view.slice("tunnel_endpoint");
  return {
    identity: view.uint("sec_identity"),
    tunnelEndpoint: addressUnlessZero((flags & IPV6_TUNNEL) !== 0 ? node : node.subarray(0, 4)),
    encryptKey: view.uint("key"),
    skipTunnel: (flags & SKIP_TUNNEL) !== 0,
    hasTunnel: (flags & HAS_TUNNEL) !== 0,
    remoteCluster: (flags & REMOTE_CLUSTER) !== 0,
  };
}

function addressUnlessZero(ip: Uint8Array): string | undefined {
  return ip.some((byte) => byte !== 0) ? formatIpAddress(ip) : undefined;
}

/** Cilium's own numbers, which are not those of AF_INET and AF_INET6. */
function familyNumber(size: number): number {
  return size === 4 ? CONSTANTS.CILIUM_IPCACHE_FAMILY_IPV4 : CONSTANTS.CILIUM_IPCACHE_FAMILY_IPV6;
}

function masked(ip: Uint8Array, prefixLength: number): Uint8Array {
  return ip.map((byte, index) => {
    const kept = Math.min(8, Math.max(0, prefixLength - index * 8));
    return byte & (0xff << (8 - kept));
  });
}
