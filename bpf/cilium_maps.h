/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts of the entries of Cilium's pinned maps, Cilium 1.13 to 1.20 (backends v2: 1.11 and 1.12).
 *
 * The number in front of a field is its offset. __be16 and __be32 are in network order; __u16 and __u32 are in host
 * order, which is little-endian on the platforms Cilium is released for. Bytes named pad are zero in keys, since the
 * kernel compares keys byte by byte. src/cilium/layouts.ts says the same for TypeScript; a test compares the two.
 */
#ifndef ONEHOP_CILIUM_MAPS_H
#define ONEHOP_CILIUM_MAPS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Protocols, by IANA number. */
#define CILIUM_PROTO_ANY 0
#define CILIUM_PROTO_TCP 6
#define CILIUM_PROTO_UDP 17
#define CILIUM_PROTO_SCTP 132

/* Scopes of a frontend. Internal ones exist only where the master has CILIUM_FLAG2_TWO_SCOPES. */
#define CILIUM_SCOPE_EXTERNAL 0
#define CILIUM_SCOPE_INTERNAL 1

/* Parts of a master's affinity word: the algorithm above the timeout in seconds. */
#define CILIUM_ALGORITHM_SHIFT 24
#define CILIUM_AFFINITY_TIMEOUT_MASK 0xffffff
#define CILIUM_ALGORITHM_NODE_DEFAULT 0
#define CILIUM_ALGORITHM_RANDOM 1
#define CILIUM_ALGORITHM_MAGLEV 2
#define CILIUM_ALGORITHM_CUSTOM 128

/* Byte flags of an entry of the services map. */
#define CILIUM_FLAG_EXTERNAL_IP 0x01
#define CILIUM_FLAG_NODE_PORT 0x02
#define CILIUM_FLAG_EXTERNAL_LOCAL 0x04
#define CILIUM_FLAG_HOST_PORT 0x08
#define CILIUM_FLAG_AFFINITY 0x10
#define CILIUM_FLAG_LOAD_BALANCER 0x20
#define CILIUM_FLAG_ROUTABLE 0x40
#define CILIUM_FLAG_SOURCE_RANGE 0x80

/* Byte flags2 of an entry of the services map. */
#define CILIUM_FLAG2_LOCAL_REDIRECT 0x01
#define CILIUM_FLAG2_NAT46X64 0x02
#define CILIUM_FLAG2_L7_PROXY 0x04
#define CILIUM_FLAG2_LOOPBACK 0x08 /* without HOST_PORT: delegated to a proxy */
#define CILIUM_FLAG2_INTERNAL_LOCAL 0x10
#define CILIUM_FLAG2_TWO_SCOPES 0x20
#define CILIUM_FLAG2_QUARANTINED 0x40 /* in the master: source ranges deny */
#define CILIUM_FLAG2_DSR 0x80

/* State of a backend. */
#define CILIUM_BACKEND_ACTIVE 0
#define CILIUM_BACKEND_TERMINATING 1
#define CILIUM_BACKEND_QUARANTINED 2
#define CILIUM_BACKEND_MAINTENANCE 3

/* The ipcache. prefixlen counts the four bytes in front of the address too. */
#define CILIUM_IPCACHE_STATIC_PREFIX 32
#define CILIUM_IPCACHE_FAMILY_IPV4 1
#define CILIUM_IPCACHE_FAMILY_IPV6 2
#define CILIUM_IPCACHE_SKIP_TUNNEL 0x01
#define CILIUM_IPCACHE_HAS_TUNNEL 0x02
#define CILIUM_IPCACHE_IPV6_TUNNEL 0x04
#define CILIUM_IPCACHE_REMOTE_CLUSTER 0x08

/* Key of cilium_lb4_services_v2 (hash). */
struct cilium_lb4_key {
	/* 0 */ __be32 address;
	/* 4 */ __be16 dport;       /* 0: wildcard entry, from 1.19 */
	/* 6 */ __u16 backend_slot; /* 0: master */
	/* 8 */ __u8 proto;         /* CILIUM_PROTO_*; ANY up to 1.16 */
	/* 9 */ __u8 scope;         /* CILIUM_SCOPE_* */
	/* 10 */ __u8 pad[2];
};

/* Key of cilium_lb6_services_v2 (hash). */
struct cilium_lb6_key {
	/* 0 */ __u8 address[16];
	/* 16 */ __be16 dport;
	/* 18 */ __u16 backend_slot;
	/* 20 */ __u8 proto;
	/* 21 */ __u8 scope;
	/* 22 */ __u8 pad[2];
};

/* Value of cilium_lb4_services_v2 and cilium_lb6_services_v2. */
struct cilium_lb_service {
	union {
		/* 0 */ __u32 backend_id;     /* slot above 0 */
		/* 0 */ __u32 affinity;       /* master: algorithm and affinity timeout */
		/* 0 */ __be16 l7_proxy_port; /* master with CILIUM_FLAG2_L7_PROXY */
	};
	/* 4 */ __u16 count;    /* master: slots for new connections */
	/* 6 */ __be16 rev_nat; /* key of the reverse NAT map, the same in master and slots */
	/* 8 */ __u8 flags;     /* CILIUM_FLAG_* */
	/* 9 */ __u8 flags2;    /* CILIUM_FLAG2_* */
	/* 10 */ __u16 qcount;  /* master: slots after those, for running connections only; from 1.16 */
};

/* Key of the backends maps (hash). */
struct cilium_lb_backend_key {
	/* 0 */ __u32 backend_id;
};

/* Value of cilium_lb4_backends_v3. */
struct cilium_lb4_backend {
	/* 0 */ __be32 address;
	/* 4 */ __be16 port;
	/* 6 */ __u8 proto;
	/* 7 */ __u8 state;       /* CILIUM_BACKEND_* */
	/* 8 */ __u16 cluster_id; /* one byte and a zero up to 1.14; always 0 in open-source Cilium */
	/* 10 */ __u8 zone;       /* from 1.16; 0: none */
	/* 11 */ __u8 pad;
};

/* Value of cilium_lb6_backends_v3. */
struct cilium_lb6_backend {
	/* 0 */ __u8 address[16];
	/* 16 */ __be16 port;
	/* 18 */ __u8 proto;
	/* 19 */ __u8 state;
	/* 20 */ __u16 cluster_id;
	/* 22 */ __u8 zone;
	/* 23 */ __u8 pad;
};

/* Value of cilium_lb4_backends_v2 (1.11 and 1.12). */
struct cilium_lb4_backend_v2 {
	/* 0 */ __be32 address;
	/* 4 */ __be16 port;
	/* 6 */ __u8 proto;
	/* 7 */ __u8 state; /* a zero in 1.11 */
};

/* Value of cilium_lb6_backends_v2 (1.11 and 1.12). */
struct cilium_lb6_backend_v2 {
	/* 0 */ __u8 address[16];
	/* 16 */ __be16 port;
	/* 18 */ __u8 proto;
	/* 19 */ __u8 state;
};

/* Key of the reverse NAT maps (hash). */
struct cilium_lb_reverse_nat_key {
	/* 0 */ __be16 rev_nat;
};

/* Value of cilium_lb4_reverse_nat. */
struct cilium_lb4_reverse_nat {
	/* 0 */ __be32 address;
	/* 4 */ __be16 port;
} __attribute__((packed));

/* Value of cilium_lb6_reverse_nat. */
struct cilium_lb6_reverse_nat {
	/* 0 */ __u8 address[16];
	/* 16 */ __be16 port;
} __attribute__((packed));

/* Key of cilium_ipcache and cilium_ipcache_v2 (lpm_trie). */
struct cilium_ipcache_key {
	/* 0 */ __u32 prefixlen;  /* CILIUM_IPCACHE_STATIC_PREFIX and the bits of the address */
	/* 4 */ __u16 cluster_id; /* always 0 in open-source Cilium */
	/* 6 */ __u8 pad;
	/* 7 */ __u8 family; /* CILIUM_IPCACHE_FAMILY_* */
	/* 8 */ __u8 ip[16]; /* IPv4 in the first four bytes, zeros after it */
};

/* Value of cilium_ipcache (up to 1.17). */
struct cilium_ipcache_value_v1 {
	/* 0 */ __u32 sec_identity;
	/* 4 */ __be32 tunnel_endpoint;
	/* 8 */ __u8 pad[2]; /* up to 1.14: key, or the number of the node */
	/* 10 */ __u8 key;
	/* 11 */ __u8 flags; /* CILIUM_IPCACHE_SKIP_TUNNEL only */
};

/* Value of cilium_ipcache_v2 (from 1.18). */
struct cilium_ipcache_value_v2 {
	/* 0 */ __u32 sec_identity;
	/* 4 */ __u8 tunnel_endpoint[16]; /* IPv4 in the first four bytes */
	/* 20 */ __u8 pad[2];
	/* 22 */ __u8 key;
	/* 23 */ __u8 flags; /* CILIUM_IPCACHE_* */
};

_Static_assert(sizeof(struct cilium_lb4_key) == 12, "cilium_lb4_key");
_Static_assert(sizeof(struct cilium_lb6_key) == 24, "cilium_lb6_key");
_Static_assert(sizeof(struct cilium_lb_service) == 12, "cilium_lb_service");
_Static_assert(sizeof(struct cilium_lb_backend_key) == 4, "cilium_lb_backend_key");
_Static_assert(sizeof(struct cilium_lb4_backend) == 12, "cilium_lb4_backend");
_Static_assert(sizeof(struct cilium_lb6_backend) == 24, "cilium_lb6_backend");
_Static_assert(sizeof(struct cilium_lb4_backend_v2) == 8, "cilium_lb4_backend_v2");
_Static_assert(sizeof(struct cilium_lb6_backend_v2) == 20, "cilium_lb6_backend_v2");
_Static_assert(sizeof(struct cilium_lb_reverse_nat_key) == 2, "cilium_lb_reverse_nat_key");
_Static_assert(sizeof(struct cilium_lb4_reverse_nat) == 6, "cilium_lb4_reverse_nat");
_Static_assert(sizeof(struct cilium_lb6_reverse_nat) == 18, "cilium_lb6_reverse_nat");
_Static_assert(sizeof(struct cilium_ipcache_key) == 24, "cilium_ipcache_key");
_Static_assert(sizeof(struct cilium_ipcache_value_v1) == 12, "cilium_ipcache_value_v1");
_Static_assert(sizeof(struct cilium_ipcache_value_v2) == 24, "cilium_ipcache_value_v2");

#endif
