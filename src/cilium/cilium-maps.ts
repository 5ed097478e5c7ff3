/** The pinned maps of Cilium that onehop reads, as data. Sizes follow from the layouts of their entries. */
import type { IpFamily } from "../model/ip-address.js";
import { LAYOUTS } from "./layouts.js";

/** One pinned map. `shape` is what an open map must look like before a byte of it is read. */
export interface CiliumMap {
  /** Name of the pin in the pin directory. */
  readonly pin: string;
  readonly shape: {
    readonly type: "hash" | "lpm_trie";
    readonly keySize: number;
    readonly valueSizes: readonly number[];
  };
  /** Undefined for the ipcache, which holds both families. */
  readonly family: IpFamily | undefined;
  /** First minor version of Cilium that writes it; undefined when it is older than 1.11. */
  readonly since: string | undefined;
  /** Last minor version that writes it; undefined when 1.20 still does. A pin may outlive that by an upgrade. */
  readonly until: string | undefined;
}

/** The load-balancing maps of one address family. Those of a family that the agent has switched off are not pinned. */
export interface LbMaps {
  readonly services: CiliumMap;
  readonly backends: CiliumMap;
  /** What 1.11 and 1.12 wrote instead of `backends`. */
  readonly backendsLegacy: CiliumMap;
  readonly reverseNat: CiliumMap;
}

/** Where the agent pins its maps, on the bpffs mounted at its default root (`--bpf-root`). */
export const PIN_DIRECTORY = "/sys/fs/bpf/tc/globals";

/** Where they are when the agent found no bpffs at `/sys/fs/bpf` and mounted one of its own. */
export const FALLBACK_PIN_DIRECTORY = "/run/cilium/bpffs/tc/globals";

const LB4: LbMaps = {
  services: {
    pin: "cilium_lb4_services_v2",
    shape: hash(LAYOUTS.cilium_lb4_key.size, LAYOUTS.cilium_lb_service.size),
    family: 4,
    since: undefined,
    until: undefined,
  },
  backends: {
    pin: "cilium_lb4_backends_v3",
    shape: hash(LAYOUTS.cilium_lb_backend_key.size, LAYOUTS.cilium_lb4_backend.size),
    family: 4,
    since: "1.13",
    until: undefined,
  },
  backendsLegacy: {
    pin: "cilium_lb4_backends_v2",
    shape: hash(LAYOUTS.cilium_lb_backend_key.size, LAYOUTS.cilium_lb4_backend_v2.size),
    family: 4,
    since: "1.11",
    until: "1.12",
  },
  reverseNat: {
    pin: "cilium_lb4_reverse_nat",
    shape: hash(LAYOUTS.cilium_lb_reverse_nat_key.size, LAYOUTS.cilium_lb4_reverse_nat.size),
    family: 4,
    since: undefined,
    until: undefined,
  },
};

const LB6: LbMaps = {
  services: {
    pin: "cilium_lb6_services_v2",
    shape: hash(LAYOUTS.cilium_lb6_key.size, LAYOUTS.cilium_lb_service.size),
    family: 6,
    since: undefined,
    until: undefined,
  },
  backends: {
    pin: "cilium_lb6_backends_v3",
    shape: hash(LAYOUTS.cilium_lb_backend_key.size, LAYOUTS.cilium_lb6_backend.size),
    family: 6,
    since: "1.13",
    until: undefined,
  },
  backendsLegacy: {
    pin: "cilium_lb6_backends_v2",
    shape: hash(LAYOUTS.cilium_lb_backend_key.size, LAYOUTS.cilium_lb6_backend_v2.size),
    family: 6,
    since: "1.11",
    until: "1.12",
  },
  reverseNat: {
    pin: "cilium_lb6_reverse_nat",
    shape: hash(LAYOUTS.cilium_lb_reverse_nat_key.size, LAYOUTS.cilium_lb6_reverse_nat.size),
    family: 6,
    since: undefined,
    until: undefined,
  },
};

/**
 * The ipcache, preferred one first. After an upgrade to 1.18 both may be pinned, and `cilium_ipcache` then keeps old
 * entries that nobody updates.
 */
export const IPCACHE_MAPS: readonly [CiliumMap, CiliumMap] = [
  {
    pin: "cilium_ipcache_v2",
    shape: {
      type: "lpm_trie",
      keySize: LAYOUTS.cilium_ipcache_key.size,
      valueSizes: [LAYOUTS.cilium_ipcache_value_v2.size],
    },
    family: undefined,
    since: "1.18",
    until: undefined,
  },
  {
    pin: "cilium_ipcache",
    shape: {
      type: "lpm_trie",
      keySize: LAYOUTS.cilium_ipcache_key.size,
      valueSizes: [LAYOUTS.cilium_ipcache_value_v1.size],
    },
    family: undefined,
    since: undefined,
    until: "1.17",
  },
];

/** Every map of the catalogue. */
export const CILIUM_MAPS: readonly CiliumMap[] = [...Object.values(LB4), ...Object.values(LB6), ...IPCACHE_MAPS];

export function lbMaps(family: IpFamily): LbMaps {
  return family === 4 ? LB4 : LB6;
}

function hash(keySize: number, valueSize: number): CiliumMap["shape"] {
  return { type: "hash", keySize, valueSizes: [valueSize] };
}
