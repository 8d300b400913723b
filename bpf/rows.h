/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The load balancer's tables, as user space keeps them (src/core/lb, which is the model of all this; src/xdp/balance writes it).
 *
 * What may be exchanged as a whole is a map in a map: a new table of rows is written beside the old one and takes its place with
 * one store, and no program sees half of it. What changes in place is a word at a time.
 */
#ifndef XSKIP_ROWS_H
#define XSKIP_ROWS_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "address.h"
#include "siphash.h"

/* How packets get to backends. */
enum mode {
	MODE_DSR,  /* as they are, to the backend's link address */
	MODE_IPIP, /* in an IP packet */
	MODE_GUE,  /* in UDP */
	MODE_NAT,  /* with other ends: translate.h */
};

/* Of a service. */
#define BY_ADDRESS 0x01 /* ports count for nothing, so fragments are as good as whole packets */
#define AT_ONCE 0x02    /* rows say nothing of older flows: nothing tells these from new ones, or each is remembered */
#define OPEN 0x04       /* new flows go where they would, though every backend is down */
#define BY_COOKIES 0x08 /* its flows may begin by a cookie of ours, whose SYN no backend has seen */

/* A service, by its number. */
struct balanced {
	__u32 table; /* its rows', in `tables` */
	__u32 rows;
	__u32 mode;
	__u32 flags;
};

/* Of a backend. */
#define IS_LIVE 0x01   /* it has flows, or may have */
#define TAKES_NEW 0x02 /* and new ones */
#define IS_DOWN 0x04
#define RESETS 0x08    /* its flows are reset */
#define HAS_WAY 0x10   /* somebody is there to send frames to */

/*
 * A backend of a service, by its number, and the way to it. The element 0, which is nobody's, says how many take new flows, and
 * those behind it, in `spare`, which.
 */
struct backend {
	struct address address; /* its own: where its tunnel ends, or what is written in mode nat */
	struct address source;  /* where its tunnel begins */
	__u16 next_hop[3];
	__u16 mtu;
	__u16 ours[3];
	__u8 flags;
	__u8 reserved;
	__u32 ifindex;
	__u32 tally; /* its index in `tallies` */
	__u16 spare;
	__be16 port; /* in mode nat; 0 for the service's */
	__u32 padding;
};

_Static_assert(sizeof(struct backend) == 64 && __builtin_offsetof(struct backend, next_hop) == 32 &&
		       __builtin_offsetof(struct backend, ours) == 40 && __builtin_offsetof(struct backend, flags) == 46 &&
		       __builtin_offsetof(struct backend, ifindex) == 48 && __builtin_offsetof(struct backend, spare) == 56 &&
		       __builtin_offsetof(struct backend, port) == 58,
	       "src/xdp/balance/backends.rs writes it word by word");

/* What a backend has got. */
struct tally {
	__u64 packets;
	__u64 octets; /* of the packets as they came, from the IP header on */
	__u64 flows;  /* new ones, by their SYNs, those that were answered here as well */
	__u64 resets; /* segments that were reset, as it is down */
};

/* A flow that is remembered: src/core/lb/exceptions.rs. */
struct entry {
	__u16 backend;
	__u16 before;
	__u16 heard;
	__u16 asked;
	__u32 isn;
	__u32 owner; /* the service's number, and flags */
};

#define ENTRY_CONFIRMED 1
#define ENTRY_ENDED 2
#define ENTRY_PINNED 4
#define ENTRY_FLAGS 3

/* A row: src/core/lb/row.rs. Aligned so that one load reads it. */
#define ROW_SECOND 0x7fff
#define ROW_WATCHED 0x8000

struct row {
	__u16 now;
	__u16 before;
	__u16 second; /* and whether it is watched */
	__u16 heard;
} __attribute__((aligned(8)));

/*
 * Behind all rows of a table stands where each leads to once more, four to a word: of most that is all there is to know, and so much
 * of a table stays in a core's own cache. Not so of one whose older flows may be left, or that is watched.
 */
#define ROWS_A_WORD 4
#define ROW_UNSETTLED 0x8000

/* What is the same for all services. */
struct balancing {
	struct sip_key key; /* of the row hash */
	__u16 silence;      /* windows, in ticks */
	__u16 handshake;
	__u16 closing;
	__u16 padding;
	__u32 too_big_budget; /* ICMP errors in a tick (a second) and on a CPU */
	__u32 padding2;
	__u64 until; /* by the monotonic clock, when the tables are nobody's any more, if nobody puts that off; 0 for never */
};

struct rows {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};

struct backends {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, sizeof(struct backend));
};

/* All of these are as small as can be where nothing is balanced, and get their size before loading. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balancing);
} balance_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balanced);
} balanced SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct rows);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct backends);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct entry);
} entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

static __always_inline const struct backend *backend_of(__u32 service, __u32 number)
{
	void *its = bpf_map_lookup_elem(&backends, &service);

	return its ? bpf_map_lookup_elem(its, &number) : NULL;
}

/* Whether nobody keeps the tables any more, and has not for as long as they may be used then. The coarse clock is a load. */
static __always_inline int is_abandoned(const struct balancing *settings)
{
	return settings->until && bpf_ktime_get_coarse_ns() > settings->until;
}

/* Whether a backend, if there is one, is all of `wanted` and none of `unwanted`. */
static __always_inline int is_like(const struct backend *backend, __u8 wanted, __u8 unwanted)
{
	return backend && (backend->flags & (wanted | unwanted)) == wanted;
}

#endif
