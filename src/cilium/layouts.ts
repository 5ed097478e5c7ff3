/**
 * Where every field of Cilium's map entries lies. The decoders and encoders read this table, `bpf/cilium_maps.h` says
 * the same in C under the same names, and a test holds the two against each other.
 *
 * Source: `bpf/lib/lb.h`, `bpf/lib/eps.h` and `pkg/loadbalancer/maps/types.go` of Cilium. Between 1.13 and 1.20 fields
 * only took the place of bytes that were zero padding before, so one layout serves all these versions.
 */

/**
 * - `host`: little-endian, as on amd64 and arm64, the only platforms that Cilium is released for.
 * - `network`: big-endian.
 * - `bytes`: single bytes in address order.
 */
export type ByteOrder = "host" | "network" | "bytes";

export interface FieldLayout {
  /** Distance from the start of the struct, in bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
  readonly order: ByteOrder;
}

export interface StructLayout<Field extends string = string> {
  /** In bytes. */
  readonly size: number;
  readonly fields: Readonly<Record<Field, FieldLayout>>;
}

/** By the names of the C structs and of their fields. Fields at one offset are the members of a union. */
export const LAYOUTS = {
  cilium_lb4_key: {
    size: 12,
    fields: {
      address: { offset: 0, size: 4, order: "network" },
      dport: { offset: 4, size: 2, order: "network" },
      backend_slot: { offset: 6, size: 2, order: "host" },
      proto: { offset: 8, size: 1, order: "bytes" },
      scope: { offset: 9, size: 1, order: "bytes" },
      pad: { offset: 10, size: 2, order: "bytes" },
    },
  },
  cilium_lb6_key: {
    size: 24,
    fields: {
      address: { offset: 0, size: 16, order: "bytes" },
      dport: { offset: 16, size: 2, order: "network" },
      backend_slot: { offset: 18, size: 2, order: "host" },
      proto: { offset: 20, size: 1, order: "bytes" },
      scope: { offset: 21, size: 1, order: "bytes" },
      pad: { offset: 22, size: 2, order: "bytes" },
    },
  },
  cilium_lb_service: {
    size: 12,
    fields: {
      backend_id: { offset: 0, size: 4, order: "host" },
      affinity: { offset: 0, size: 4, order: "host" },
      l7_proxy_port: { offset: 0, size: 2, order: "network" },
      count: { offset: 4, size: 2, order: "host" },
      rev_nat: { offset: 6, size: 2, order: "network" },
      flags: { offset: 8, size: 1, order: "bytes" },
      flags2: { offset: 9, size: 1, order: "bytes" },
      qcount: { offset: 10, size: 2, order: "host" },
    },
  },
  cilium_lb_backend_key: {
    size: 4,
    fields: { backend_id: { offset: 0, size: 4, order: "host" } },
  },
  cilium_lb4_backend: {
    size: 12,
    fields: {
      address: { offset: 0, size: 4, order: "network" },
      port: { offset: 4, size: 2, order: "network" },
      proto: { offset: 6, size: 1, order: "bytes" },
      state: { offset: 7, size: 1, order: "bytes" },
      cluster_id: { offset: 8, size: 2, order: "host" },
      zone: { offset: 10, size: 1, order: "bytes" },
      pad: { offset: 11, size: 1, order: "bytes" },
    },
  },
  cilium_lb6_backend: {
    size: 24,
    fields: {
      address: { offset: 0, size: 16, order: "bytes" },
      port: { offset: 16, size: 2, order: "network" },
      proto: { offset: 18, size: 1, order: "bytes" },
      state: { offset: 19, size: 1, order: "bytes" },
      cluster_id: { offset: 20, size: 2, order: "host" },
      zone: { offset: 22, size: 1, order: "bytes" },
      pad: { offset: 23, size: 1, order: "bytes" },
    },
  },
  cilium_lb4_backend_v2: {
    size: 8,
    fields: {
      address: { offset: 0, size: 4, order: "network" },
      port: { offset: 4, size: 2, order: "network" },
      proto: { offset: 6, size: 1, order: "bytes" },
      state: { offset: 7, size: 1, order: "bytes" },
    },
  },
  cilium_lb6_backend_v2: {
    size: 20,
    fields: {
      address: { offset: 0, size: 16, order: "bytes" },
      port: { offset: 16, size: 2, order: "network" },
      proto: { offset: 18, size: 1, order: "bytes" },
      state: { offset: 19, size: 1, order: "bytes" },
    },
  },
  cilium_lb_reverse_nat_key: {
    size: 2,
    fields: { rev_nat: { offset: 0, size: 2, order: "network" } },
  },
  cilium_lb4_reverse_nat: {
    size: 6,
    fields: {
      address: { offset: 0, size: 4, order: "network" },
      port: { offset: 4, size: 2, order: "network" },
    },
  },
  cilium_lb6_reverse_nat: {
    size: 18,
    fields: {
      address: { offset: 0, size: 16, order: "bytes" },
      port: { offset: 16, size: 2, order: "network" },
    },
  },
  cilium_ipcache_key: {
    size: 24,
    fields: {
      prefixlen: { offset: 0, size: 4, order: "host" },
      cluster_id: { offset: 4, size: 2, order: "host" },
      pad: { offset: 6, size: 1, order: "bytes" },
      family: { offset: 7, size: 1, order: "bytes" },
      ip: { offset: 8, size: 16, order: "bytes" },
    },
  },
  cilium_ipcache_value_v1: {
    size: 12,
    fields: {
      sec_identity: { offset: 0, size: 4, order: "host" },
      tunnel_endpoint: { offset: 4, size: 4, order: "network" },
      pad: { offset: 8, size: 2, order: "bytes" },
      key: { offset: 10, size: 1, order: "bytes" },
      flags: { offset: 11, size: 1, order: "bytes" },
    },
  },
  cilium_ipcache_value_v2: {
    size: 24,
    fields: {
      sec_identity: { offset: 0, size: 4, order: "host" },
      tunnel_endpoint: { offset: 4, size: 16, order: "bytes" },
      pad: { offset: 20, size: 2, order: "bytes" },
      key: { offset: 22, size: 1, order: "bytes" },
      flags: { offset: 23, size: 1, order: "bytes" },
    },
  },
} as const;

/** Number of every constant of `bpf/cilium_maps.h` but the flags of services. */
export const CONSTANTS = {
  CILIUM_PROTO_ANY: 0,
  CILIUM_PROTO_TCP: 6,
  CILIUM_PROTO_UDP: 17,
  CILIUM_PROTO_SCTP: 132,
  CILIUM_SCOPE_EXTERNAL: 0,
  CILIUM_SCOPE_INTERNAL: 1,
  CILIUM_ALGORITHM_SHIFT: 24,
  CILIUM_ALGORITHM_NODE_DEFAULT: 0,
  CILIUM_ALGORITHM_RANDOM: 1,
  CILIUM_ALGORITHM_MAGLEV: 2,
  CILIUM_ALGORITHM_CUSTOM: 128,
  CILIUM_AFFINITY_TIMEOUT_MASK: 0xffffff,
  CILIUM_BACKEND_ACTIVE: 0,
  CILIUM_BACKEND_TERMINATING: 1,
  CILIUM_BACKEND_QUARANTINED: 2,
  CILIUM_BACKEND_MAINTENANCE: 3,
  CILIUM_IPCACHE_STATIC_PREFIX: 32,
  CILIUM_IPCACHE_FAMILY_IPV4: 1,
  CILIUM_IPCACHE_FAMILY_IPV6: 2,
  CILIUM_IPCACHE_SKIP_TUNNEL: 0x01,
  CILIUM_IPCACHE_HAS_TUNNEL: 0x02,
  CILIUM_IPCACHE_IPV6_TUNNEL: 0x04,
  CILIUM_IPCACHE_REMOTE_CLUSTER: 0x08,
} as const;
