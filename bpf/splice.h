/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Pairs of connections whose segments are translated here: what is kept of each. src/core/splice is the model, step by step.
 *
 * What segments of one side change stands on a line of its own, as both ways may be served by two CPUs at once: so each number has one
 * way that writes it. Two CPUs that serve the same way may lose each other's store. All that is lost then is what the next segment says
 * again, as all numbers only grow: a bound stands a little further back for as long.
 */
#ifndef XSKIP_SPLICE_H
#define XSKIP_SPLICE_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "address.h"

#define CLIENT_SIDE 0
#define BACKEND_SIDE 1

/*
 * Whether there is any such table. Each function that is not inlined asks this first: kernels before 6.8 verify all of these, called or not,
 * and those before 5.18 do not know all that is called in them. Behind this answer all else is dead code.
 */
const volatile __u32 splicing = 0;

/* Whose a segment is: its ends as we have them. */
struct splice_key {
	struct address local;
	struct address remote;
	__u32 ports; /* of the local end, then of the remote one, as they stand in a frame */
	__u32 padding;
};

/* Whereto frames to a side go, and from which end. Link addresses and tags are one store each: a frame may have but one of two new ones. */
struct splice_end {
	struct address local;
	struct address remote;
	__u32 ports;       /* as those of a key */
	__u32 ifindex;
	__u64 destination; /* a link address in the first six octets, as it stands in a frame */
	__u64 source;      /* likewise, and then the tag, in the same order */
	__u32 mtu;
	__u32 padding;
};

/* What is fixed of a side beside that. */
struct splice_side {
	__u32 shift;       /* what is added to its sequence numbers, */
	__u32 clock_shift; /* and to its clock */
	__u32 clock;       /* ours towards it, at the switch */
	__u32 recent;      /* its own, then */
	__u16 vlan;        /* of its frames' tags */
	__u8 peer_scale;
	__u8 our_scale;
	__u8 follows;      /* whether frames to it go to whichever station its frames come from */
	__u8 padding[3];
};

/* What the segments of a side have said: of its own stream, and of the other side's by acknowledging that. */
struct splice_said {
	__u64 heard;   /* by the monotonic clock, and rarely written */
	__u64 carried;
	__u32 sent;
	__u32 fin;
	__u32 acked;   /* from here on of the other side's stream */
	__u32 edge;
	__u32 offered;
	__u32 reach;
	__u32 has_fin;
	__u32 is_past;
	__u32 is_reset;
	__u32 padding[3];
};

struct splice_pair {
	struct splice_end ends[2];
	struct splice_side sides[2];
	__u32 has_clocks;
	__u32 is_tagged;
	__u32 is_claim; /* no pair, but a flow of the stack's own at an address that is not: its end is where the backend's would be */
	__u32 padding;
	struct splice_said said[2];
};

_Static_assert(sizeof(struct splice_end) == 64 && __builtin_offsetof(struct splice_pair, said) == 192 && sizeof(struct splice_pair) == 320,
	       "lines of a cache");

/* As small as can be where nothing is translated, like the index of it (splice_find.h), and gets its size before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct splice_pair);
} splice_pairs SEC(".maps");

#endif
