/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Segments that find a listener and have no cookie that counts. Two kinds of clients send them. One has just ended a handshake, and its
 * first segment was lost: a RST would end what the next one begins. The other has a connection that this host has forgotten, as after a
 * restart, and should hear so before it gives up by itself, which takes a quarter of an hour. Time tells them apart: the first kind has
 * sent its first segment again within seconds.
 */
#ifndef XSKIP_STRAYS_H
#define XSKIP_STRAYS_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "segment.h"

/* A flood of forged ones only makes them forget each other: then they are dropped for longer. */
#define MAX_STRAYS 16384
#define PATIENCE_NS 5000000000ULL

struct stray {
	__u64 since;
	__u32 acknowledged; /* who hears nothing acknowledges nothing more; another number is another connection's */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_STRAYS);
	__type(key, struct flow);
	__type(value, struct stray);
} strays SEC(".maps");

/* Whether such segments have come for so long that the kernel may answer this one. */
static __always_inline int is_lasting(const struct segment *segment)
{
	const struct stray *known = bpf_map_lookup_elem(&strays, &segment->flow);
	struct stray stray = { .since = bpf_ktime_get_ns(), .acknowledged = segment->acknowledged };

	if (known && known->acknowledged == segment->acknowledged)
		return stray.since - known->since >= PATIENCE_NS;
	bpf_map_update_elem(&strays, &segment->flow, &stray, BPF_ANY);
	return 0;
}

#endif
