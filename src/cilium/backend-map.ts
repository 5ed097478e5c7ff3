/**
 * `cilium_lb4_backends_v3` and `cilium_lb6_backends_v3` (from 1.13), and `_v2` (1.11 and 1.12): a backend id leads to
 * the address and port of a pod. One backend is shared by all frontends that use it.
 */
import type { BackendState } from "../model/endpoint.js";
import { ipFamily } from "../model/ip-address.js";
import { type CodeTable, createCodeTable } from "./code-table.js";
import { CONSTANTS, LAYOUTS, type StructLayout } from "./layouts.js";
import { PROTOCOLS, type Protocol } from "./protocol.js";
import { malformed, StructView, wrongLength } from "./struct-view.js";

export interface Backend {
  /** Canonical. */
  readonly address: string;
  readonly port: number;
  /** `any` up to 1.16 and in what 1.17 took over. */
  readonly protocol: Protocol;
  readonly state: BackendState;
  /** Always 0 in open-source Cilium: the pod's cluster comes from its identity in the ipcache. 0 in `_v2`. */
  readonly clusterId: number;
  /** Number that the agent's option `fixed-zone-mapping` gives a zone; 0 for none, before 1.16 and in `_v2`. */
  readonly zone: number;
}

/** Which of the two layouts of a value: 3 from Cilium 1.13 on. */
export type BackendMapVersion = 2 | 3;

/**
 * By the byte in the map. Cilium's Go code numbers the states otherwise in memory; `terminating` here covers its
 * terminating backends that serve and those that do not.
 */
const STATES: CodeTable<BackendState> = createCodeTable({
  active: CONSTANTS.CILIUM_BACKEND_ACTIVE,
  terminating: CONSTANTS.CILIUM_BACKEND_TERMINATING,
  quarantined: CONSTANTS.CILIUM_BACKEND_QUARANTINED,
  maintenance: CONSTANTS.CILIUM_BACKEND_MAINTENANCE,
});

type CommonField = keyof typeof LAYOUTS.cilium_lb4_backend_v2.fields;
type Field = keyof typeof LAYOUTS.cilium_lb4_backend.fields;

interface BackendFormat {
  readonly subject: string;
  readonly layout: StructLayout<CommonField>;
  /** The same layout where it has the fields that v3 added. */
  readonly v3: StructLayout<Field> | undefined;
}

const V3_IPV4: BackendFormat = {
  subject: "cilium_lb4_backends_v3 value",
  layout: LAYOUTS.cilium_lb4_backend,
  v3: LAYOUTS.cilium_lb4_backend,
};
const V3_IPV6: BackendFormat = {
  subject: "cilium_lb6_backends_v3 value",
  layout: LAYOUTS.cilium_lb6_backend,
  v3: LAYOUTS.cilium_lb6_backend,
};
const V2_IPV4: BackendFormat = {
  subject: "cilium_lb4_backends_v2 value",
  layout: LAYOUTS.cilium_lb4_backend_v2,
  v3: undefined,
};
const V2_IPV6: BackendFormat = {
  subject: "cilium_lb6_backends_v2 value",
  layout: LAYOUTS.cilium_lb6_backend_v2,
  v3: undefined,
};
const FORMATS: readonly BackendFormat[] = [V3_IPV4, V3_IPV6, V2_IPV4, V2_IPV6];

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` when the id is no integer from 1 to 2^32 - 1 */
export function encodeBackendKey(backendId: number): Uint8Array {
  const view = new StructView("cilium_lb{4,6}_backends key", LAYOUTS.cilium_lb_backend_key);
  view.setUint("backend_id", backendId);
  if (backendId === 0) throw view.malformed("backend_id", "0", "at least 1");
  return view.bytes;
}

/** @throws OnehopError `ERR_ONEHOP_MALFORMED` for a wrong length, and for id 0, which Cilium never gives */
export function decodeBackendKey(bytes: Uint8Array): number {
  const view = new StructView("cilium_lb{4,6}_backends key", LAYOUTS.cilium_lb_backend_key, bytes);
  const backendId = view.uint("backend_id");
  if (backendId === 0) throw view.malformed("backend_id", "0", "at least 1");
  return backendId;
}

/**
 * @param version default 3; version 2 has no room for a cluster or zone
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` when a field does not fit
 */
export function encodeBackend(backend: Backend, version: BackendMapVersion = 3): Uint8Array {
  const isIpv6 = ipFamily(backend.address) === 6;
  const format = version === 3 ? (isIpv6 ? V3_IPV6 : V3_IPV4) : isIpv6 ? V2_IPV6 : V2_IPV4;
  const view = new StructView(format.subject, format.layout);
  view.setAddress("address", backend.address);
  view.setUint("port", backend.port);
  view.setUint("proto", PROTOCOLS.numberOf(backend.protocol));
  view.setUint("state", STATES.numberOf(backend.state));
  if (format.v3 !== undefined) {
    const added = new StructView(format.subject, format.v3, view.bytes);
    added.setUint("cluster_id", backend.clusterId);
    added.setUint("zone", backend.zone);
  } else if (backend.clusterId !== 0 || backend.zone !== 0) {
    throw malformed(format.subject, "cluster_id and zone", `${backend.clusterId} and ${backend.zone}`, "0 and 0");
  }
  return view.bytes;
}

/**
 * @param bytes of v3: 12 for IPv4, 24 for IPv6; of v2: 8 and 20
 * @throws OnehopError `ERR_ONEHOP_MALFORMED` for another length, an unknown protocol or state
 */
export function decodeBackend(bytes: Uint8Array): Backend {
  const format = FORMATS.find(({ layout }) => layout.size === bytes.length);
  if (format === undefined) {
    const sizes = FORMATS.map(({ layout }) => layout.size);
    throw wrongLength("cilium_lb{4,6}_backends value", bytes, sizes);
  }
  const view = new StructView(format.subject, format.layout, bytes);
  const added = format.v3 === undefined ? undefined : new StructView(format.subject, format.v3, bytes);
  return {
    address: view.address("address"),
    port: view.uint("port"),
    protocol: view.code("proto", PROTOCOLS),
    state: view.code("state", STATES),
    clusterId: added?.uint("cluster_id") ?? 0,
    zone: added?.uint("zone") ?? 0,
  };
}
