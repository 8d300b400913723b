/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The handshakes that were taken over lately, by their clients' addresses and ports.
 *
 * They answer two questions. A driver hands over what it has received in batches, and this program sees all of a batch before TCP sees
 * the first segment of it: what comes right behind a first segment finds a listener still, and has to wait (`comes_behind`). And a
 * cookie opens one connection, though the network may deliver its segment again when that has ended (`is_used`). It was used when its
 * connection was seen, and not before: a listener with a full queue takes nobody, and the client's next attempt has to find it.
 */
#ifndef XSKIP_HANDED_H
#define XSKIP_HANDED_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "segment.h"

/* A cookie lives for up to 165 s: so many are remembered for all of that where 790 connections begin in a second. */
#define MAX_HANDED 131072
#define BATCH_NS 10000000ULL
/* By how much the segments behind the first one may be ahead of it. */
#define MAX_AHEAD (1U << 20)
/* How often segments of one handshake are sent round, in all: a client sends ten at once (RFC 6928). */
#define MAX_ROUNDS 16
/* Segments of a connection that tell of its being there; the rest is spared the look-up. */
#define EARLY_SEGMENTS 64

struct handed {
	__u64 at;           /* when, since boot */
	__u32 sequence;     /* of its first segment */
	__u32 acknowledged; /* likewise: it says which SYN-ACK was answered */
	__u32 rounds;
	__u32 replaced; /* not handed over yet: how often it was tried to end an old socket for it */
	__u32 has_opened;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_HANDED);
	__type(key, struct flow);
	__type(value, struct handed);
} handed_over SEC(".maps");

static __always_inline struct handed *find_handed(const struct segment *segment)
{
	return bpf_map_lookup_elem(&handed_over, &segment->flow);
}

static __always_inline void remember(const struct segment *segment, __u32 replaced)
{
	struct handed handed = {
		.at = bpf_ktime_get_ns(),
		.sequence = segment->sequence,
		.acknowledged = segment->acknowledged,
		.replaced = replaced,
	};

	bpf_map_update_elem(&handed_over, &segment->flow, &handed, BPF_ANY);
}

/* Whether it is the first segment that was taken over, once more. */
static __always_inline int is_same(const struct handed *handed, const struct segment *segment)
{
	return handed->sequence == segment->sequence && handed->acknowledged == segment->acknowledged;
}

static __always_inline int is_used(const struct handed *handed, const struct segment *segment)
{
	return handed && is_same(handed, segment) && handed->has_opened;
}

/* Whether TCP may not have seen yet what was taken over before this segment of the same connection. It is asked to wait then. */
static __always_inline int comes_behind(struct handed *handed, const struct segment *segment)
{
	if (!handed || handed->has_opened || handed->acknowledged != segment->acknowledged ||
	    segment->sequence - handed->sequence >= MAX_AHEAD || handed->rounds >= MAX_ROUNDS ||
	    bpf_ktime_get_ns() - handed->at >= BATCH_NS)
		return 0;
	handed->rounds++;
	return 1;
}

/* A connection is there: the one that was handed over, if the number fits that its first segment acknowledged. */
static __always_inline void note_connection(const struct segment *segment, __u32 segments_so_far, __u32 acknowledged_first)
{
	struct handed *handed;

	if (segments_so_far > EARLY_SEGMENTS)
		return;
	handed = find_handed(segment);
	if (handed && !handed->has_opened && handed->acknowledged == acknowledged_first)
		handed->has_opened = 1;
}

#endif
