/**
 * `cilium_lb4_services_v2` and `cilium_lb6_services_v2`: a frontend (address, port, protocol, scope) has a master in
 * slot 0 and one entry for each backend in the slots after it. Slots 1 to `count` take new connections; the next
 * `qcount` slots are there for running ones only. Values are the same for both families.
 */
import { ipFamily } from "../model/ip-address.js";
import { type CodeTable, createCodeTable } from "./code-table.js";
import { CONSTANTS, LAYOUTS } from "./layouts.js";
import { PROTOCOLS, type Protocol } from "./protocol.js";
import { isL7Proxy } from "./service-flags.js";
import { malformed, readUint, StructView, wrongLength } from "./struct-view.js";

/** `internal` entries exist only where the master at `external` has the flag for two scopes. */
export type ServiceScope = "external" | "internal";

export interface ServiceKey {
  /** Canonical address of the frontend; all zeros for the surrogate of NodePort and HostPort entries. */
  readonly address: string;
  /** 0 in wildcard entries, which drop traffic to unknown ports. */
  readonly port: number;
  /** 0 is the master. */
  readonly slot: number;
  readonly protocol: Protocol;
  readonly scope: ServiceScope;
}

type NamedAlgorithm = "node-default" | "random" | "maglev" | "custom";

/** How Cilium's datapath balances. `node-default` leaves it to the agent's option `bpf-lb-algorithm`. */
export type LbAlgorithm = NamedAlgorithm | `algorithm ${number}`;

/** The value of slot 0. */
export interface ServiceMaster {
  /** Slots 1 to `count` take new connections. */
  readonly count: number;
  /** Slots after those, for running connections only; 0 also where the version does not store it (before 1.16). */
  readonly qcount: number;
  /** Cilium's number of the frontend, repeated in its slots and the key of the reverse NAT map. */
  readonly revNat: number;
  /** See `SERVICE_FLAGS`. */
  readonly flags: number;
  /** `node-default` also where `l7ProxyPort` is present, and before 1.17. */
  readonly algorithm: LbAlgorithm;
  /** How long a client stays with a backend, in seconds; 0 where `l7ProxyPort` is present. */
  readonly affinityTimeoutS: number;
  /** Port of the node's Envoy; present exactly when the flags say L7 proxy. */
  readonly l7ProxyPort: number | undefined;
}

/** The value of a slot above 0. */
export interface ServiceSlot {
  /** Key of the backends map; at least 1. */
  readonly backendId: number;
  /** The master's, or the entries belong to different frontends. */
  readonly revNat: number;
  /** 0 up to 1.17, like the master's later. */
  readonly flags: number;
}

const VALUE = "cilium_lb{4,6}_services_v2 value";
const V4_KEY = "cilium_lb4_services_v2 key";
const V6_KEY = "cilium_lb6_services_v2 key";
const SCOPES: CodeTable<ServiceScope> = createCodeTable({
  external: CONSTANTS.CILIUM_SCOPE_EXTERNAL,
  internal: CONSTANTS.CILIUM_SCOPE_INTERNAL,
});
const ALGORITHMS: CodeTable<NamedAlgorithm> = createCodeTable({
  "node-default": CONSTANTS.CILIUM_ALGORITHM_NODE_DEFAULT,
  random: CONSTANTS.CILIUM_ALGORITHM_RANDOM,
  maglev: CONSTANTS.CILIUM_ALGORITHM_MAGLEV,
  custom: CONSTANTS.CILIUM_ALGORITHM_CUSTOM,
});

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` when a field does not fit */
export function encodeServiceKey(key: ServiceKey): Uint8Array {
  const { cilium_lb4_key: ipv4, cilium_lb6_key: ipv6 } = LAYOUTS;
  const view = keyView(new Uint8Array(ipFamily(key.address) === 6 ? ipv6.size : ipv4.size));
  view.setAddress("address", key.address);
  view.setUint("dport", key.port);
  view.setUint("backend_slot", key.slot);
  view.setUint("proto", PROTOCOLS.numberOf(key.protocol));
  view.setUint("scope", SCOPES.numberOf(key.scope));
  return view.bytes;
}

/**
 * @param bytes 12 for IPv4, 24 for IPv6
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` for another length, an unknown protocol or scope, and non-zero padding
 */
export function decodeServiceKey(bytes: Uint8Array): ServiceKey {
  const view = keyView(bytes);
  view.requireZero("pad");
  return {
    address: view.address("address"),
    port: view.uint("dport"),
    slot: view.uint("backend_slot"),
    protocol: view.code("proto", PROTOCOLS),
    scope: view.code("scope", SCOPES),
  };
}

/** Moves an encoded key to another slot of the same frontend, in place. */
export function setServiceKeySlot(key: Uint8Array, slot: number): void {
  keyView(key).setUint("backend_slot", slot);
}

/** Whether the entry only drops traffic to unknown ports (from 1.19 on). It is no service. */
export function isWildcardKey(key: ServiceKey): boolean {
  return key.port === 0;
}

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` when a field does not fit, or `l7ProxyPort` contradicts the flags */
export function encodeServiceMaster(master: ServiceMaster): Uint8Array {
  const view = valueView();
  setFlags(view, master.flags);
  view.setUint("count", master.count);
  view.setUint("rev_nat", master.revNat);
  view.setUint("qcount", master.qcount);
  if (isL7Proxy(master.flags)) {
    if (master.l7ProxyPort === undefined)
      throw view.malformed("l7_proxy_port", "absent", "a port: the flags say L7 proxy");
    view.setUint("l7_proxy_port", master.l7ProxyPort);
    return view.bytes;
  }
  if (master.l7ProxyPort !== undefined) {
    throw view.malformed("l7_proxy_port", String(master.l7ProxyPort), "none: the flags do not say L7 proxy");
  }
  const { affinityTimeoutS: timeout } = master;
  if (!Number.isInteger(timeout) || timeout < 0 || timeout > CONSTANTS.CILIUM_AFFINITY_TIMEOUT_MASK) {
    throw view.malformed("affinity", `${timeout} s`, `an integer from 0 to ${CONSTANTS.CILIUM_AFFINITY_TIMEOUT_MASK}`);
  }
  view.setUint("affinity", algorithmNumber(master.algorithm) * 2 ** CONSTANTS.CILIUM_ALGORITHM_SHIFT + timeout);
  return view.bytes;
}

/**
 * Decodes the value of slot 0.
 *
 * Before 1.17 the byte of the algorithm belonged to the timeout; it was 0, since Kubernetes allows a day at most.
 *
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` for a wrong length
 */
export function decodeServiceMaster(bytes: Uint8Array): ServiceMaster {
  const view = valueView(bytes);
  const flags = flagsOf(view);
  const isProxied = isL7Proxy(flags);
  const affinity = isProxied ? 0 : view.uint("affinity");
  return {
    count: view.uint("count"),
    qcount: view.uint("qcount"),
    revNat: view.uint("rev_nat"),
    flags,
    algorithm: algorithmOf(affinity >>> CONSTANTS.CILIUM_ALGORITHM_SHIFT),
    affinityTimeoutS: affinity & CONSTANTS.CILIUM_AFFINITY_TIMEOUT_MASK,
    l7ProxyPort: isProxied ? view.uint("l7_proxy_port") : undefined,
  };
}

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` when a field does not fit */
export function encodeServiceSlot(slot: ServiceSlot): Uint8Array {
  const view = valueView();
  view.setUint("backend_id", slot.backendId);
  if (slot.backendId === 0) throw view.malformed("backend_id", "0", "at least 1");
  view.setUint("rev_nat", slot.revNat);
  setFlags(view, slot.flags);
  return view.bytes;
}

/**
 * Decodes the value of a slot above 0.
 *
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` for a wrong length, and for backend id 0, which Cilium never gives: most
 * likely the bytes are those of a master
 */
export function decodeServiceSlot(bytes: Uint8Array): ServiceSlot {
  const view = valueView(bytes);
  const backendId = view.uint("backend_id");
  if (backendId === 0) throw view.malformed("backend_id", "0", "at least 1");
  return { backendId, revNat: view.uint("rev_nat"), flags: flagsOf(view) };
}

/**
 * The reverse NAT number of a master's or slot's value, without decoding the rest.
 *
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` for a wrong length
 */
export function revNatOf(value: Uint8Array): number {
  const { size, fields } = LAYOUTS.cilium_lb_service;
  if (value.length !== size) throw wrongLength(VALUE, value, [size]);
  return readUint(value, fields.rev_nat);
}

type KeyField = keyof typeof LAYOUTS.cilium_lb4_key.fields;
type ValueField = keyof typeof LAYOUTS.cilium_lb_service.fields;

function keyView(bytes: Uint8Array): StructView<KeyField> {
  const { cilium_lb4_key: ipv4, cilium_lb6_key: ipv6 } = LAYOUTS;
  if (bytes.length === ipv4.size) return new StructView(V4_KEY, ipv4, bytes);
  if (bytes.length === ipv6.size) return new StructView(V6_KEY, ipv6, bytes);
  throw wrongLength("cilium_lb{4,6}_services_v2 key", bytes, [ipv4.size, ipv6.size]);
}

function valueView(bytes?: Uint8Array): StructView<ValueField> {
  return new StructView(VALUE, LAYOUTS.cilium_lb_service, bytes);
}

function flagsOf(view: StructView<ValueField>): number {
  return view.uint("flags") | (view.uint("flags2") << 8);
}

function setFlags(view: StructView<ValueField>, flags: number): void {
  if (!Number.isInteger(flags) || flags < 0 || flags > 0xffff) {
    throw view.malformed("flags", String(flags), "an integer from 0 to 65535");
  }
  view.setUint("flags", flags & 0xff);
  view.setUint("flags2", flags >>> 8);
}

function algorithmOf(number: number): LbAlgorithm {
  return ALGORITHMS.nameOf(number) ?? `algorithm ${number}`;
}

function algorithmNumber(algorithm: LbAlgorithm): number {
  const code = /^algorithm ([0-9]{1,3})$/.exec(algorithm)?.[1];
  const number = code === undefined ? ALGORITHMS.numberOf(algorithm as NamedAlgorithm) : Number(code);
  if (number <= 0xff) return number;
  throw malformed(VALUE, "algorithm", `"${algorithm}"`, `one of ${ALGORITHMS.text}, or "algorithm 255" at most`);
}
