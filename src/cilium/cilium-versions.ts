/**
 * What the agent of each minor version of Cilium writes into the maps. Readers do not need it, since one decoder serves
 * all versions; writers for tests and the documentation do.
 *
 * From Cilium's sources, upgrade notes and pull requests, named beside each property.
 */
export interface CiliumVersion {
  readonly version: CiliumVersionName;
  /** The master tells how many slots follow the selectable ones. Seen on a 1.16 node, absent before. */
  readonly writesQcount: boolean;
  /** The top byte of the master's first word is the algorithm (1.17.2, pull request 39037). */
  readonly writesAlgorithm: boolean;
  /** Backends carry a zone number (pull requests 31838 and 32584, both merged for 1.16). */
  readonly writesZone: boolean;
  /** Keys and backends tell the protocol; otherwise 0. 1.17 left the entries it found at 0. */
  readonly writesProtocol: boolean;
  /** Entries for port 0 drop traffic to unknown ports (pull request 40684). */
  readonly writesWildcards: boolean;
  /** Slots repeat the master's flags; otherwise their flags are 0 (the control plane of 1.18). */
  readonly writesSlotFlags: boolean;
  /** Pin of the ipcache (pull request 38296). */
  readonly ipcache: "cilium_ipcache" | "cilium_ipcache_v2";
  /** Size of `cluster_id` in a backend; the bytes are the same, since it is little-endian (pull request 27520). */
  readonly clusterIdBytes: 1 | 2;
  /** When an update deletes backends that no service uses: before its first write or after its last. */
  readonly orphanBackends: "first" | "last";
  /**
   * What service affinity does to backends that are not preferred: active ones in the slots after `count`, or none at
   * all.
   */
  readonly notPreferred: "in-tail" | "left-out";
}

export type CiliumVersionName = "1.13" | "1.14" | "1.15" | "1.16" | "1.17" | "1.18" | "1.19" | "1.20";

const V1_13: CiliumVersion = {
  version: "1.13",
  writesQcount: false,
  writesAlgorithm: false,
  writesZone: false,
  writesProtocol: false,
  writesWildcards: false,
  writesSlotFlags: false,
  ipcache: "cilium_ipcache",
  clusterIdBytes: 1,
  orphanBackends: "last",
  notPreferred: "in-tail",
};
const V1_14: CiliumVersion = { ...V1_13, version: "1.14" };
const V1_15: CiliumVersion = { ...V1_14, version: "1.15", clusterIdBytes: 2 };
const V1_16: CiliumVersion = { ...V1_15, version: "1.16", writesQcount: true, writesZone: true };
const V1_17: CiliumVersion = { ...V1_16, version: "1.17", writesAlgorithm: true, writesProtocol: true };
const V1_18: CiliumVersion = {
  ...V1_17,
  version: "1.18",
  writesSlotFlags: true,
  ipcache: "cilium_ipcache_v2",
  orphanBackends: "first",
  notPreferred: "left-out",
};
const V1_19: CiliumVersion = { ...V1_18, version: "1.19", writesWildcards: true };
const V1_20: CiliumVersion = { ...V1_19, version: "1.20" };

/** Oldest first. */
export const CILIUM_VERSIONS: readonly CiliumVersion[] = [V1_13, V1_14, V1_15, V1_16, V1_17, V1_18, V1_19, V1_20];
