/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What stands between a flood and user space: the switches, and the flows that are known to be real.
 *
 * A flow's fingerprint is a tag in one of two buckets. The second bucket follows from the first and the tag, so flows of the
 * same tag share both of their buckets or none; any copy of a tag stands for any of them, and taking one away never hides
 * another. Workers write the table (src/xdp/filter.rs), without a system call; this program only reads it.
 */
#ifndef XSKIP_GUARD_H
#define XSKIP_GUARD_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "parse.h"
#include "siphash.h"

#define TAGS_PER_WORD 4
#define WORDS_PER_BUCKET 2
#define EPOCH_KEYS 4
#define HASH_KEYS 10
#define MAX_VERIFIED 65536
#define KEPT_SHIFT 30

/*
 * Between disarmed and armed the program learns: handshakes that it has not seen end may be on their way to a worker at the
 * moment of arming, so for a while strangers still pass.
 */
enum armed {
	DISARMED,
	LEARNING,
	ARMED,
};

/* How frames leave that are sent from here. */
enum way_out {
	BY_TX,
	BY_REDIRECT, /* to the interface: what veth needs */
	NO_WAY,      /* the other end would not receive them: SYNs are left to the stack, whose frames leave by the socket */
};

/* What becomes of a SYN whose checksum is that of the pseudo-header alone. */
enum unfinished {
	REFUSED, /* it counts as wrong */
	TAKEN,   /* the answer's is computed in full */
	KEPT,    /* the answer's is that of the pseudo-header, too: the kernel finishes it, as the packet says (generic mode) */
};

/* Settings that user space changes at any time, by writing to memory shared with it. */
struct guard {
	enum armed armed;    /* everything else counts only while it is not DISARMED */
	__u32 epoch;         /* the current one: its key is keys[epoch % EPOCH_KEYS] */
	enum way_out way_out;
	__u32 closed_budget; /* SYNs for closed ports that may pass, in a tick and on a CPU; and as many RSTs of no known flow */
	__u32 overflowed;    /* flows that found no room in the filter: while there are any, a miss proves nothing */
	__u32 bucket_mask;
	__u32 zero;          /* always 0; reading it hides the value from the verifier */
	enum unfinished unfinished;
	__u64 suspects;      /* bit n: the last octet of an address that nobody sends from is n, modulo 64 */
	__u64 hash_keys[HASH_KEYS];
	struct sip_key keys[EPOCH_KEYS];
	__u32 tick;          /* grows ten times a second */
	__u32 short_grace;   /* cookies of the last epoch count no more */
	__u32 prefix_budget; /* SYN-ACKs for a prefix, in a tick and on a CPU; 0 for as many as it asks for */
	__u32 next_epoch;    /* cookies of the next epoch count already */
	__u32 mac_head;      /* our station's address, as it stands in a frame: four octets, */
	__u32 mac_tail;      /* and the last two */
	__u32 answers_head;  /* whom answers go to: four octets as they stand in a frame, */
	__u32 answers_tail;  /* and two, with bit 16 set; 0 for where a frame came from */
	__u32 kept_until;    /* in ticks of the monotonic clock, when the keys are too old for answers in backends' names */
	__u32 padding;
};

volatile struct guard guard;

/* Whether somebody has kept the keys of late. The coarse clock is a load. */
static __always_inline int are_keys_kept(void)
{
	__u32 until = guard.kept_until;

	return until && (__s32)(until - (__u32)(bpf_ktime_get_coarse_ns() >> KEPT_SHIFT)) > 0;
}

struct bucket {
	__u64 words[WORDS_PER_BUCKET];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* a power of two: set before loading */
	__type(key, __u32);
	__type(value, struct bucket);
} filter SEC(".maps");

/*
 * Flows whose cookie was good, from the moment it was seen here until their worker has entered them into the filter: what
 * follows on the heels of a handshake's last segment must not be dropped. The key is a fingerprint's hash.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_VERIFIED);
	__type(key, __u64);
	__type(value, __u8);
} verified SEC(".maps");

/*
 * Multilinear hashing (Lemire and Kaser 2014): a sum of products with secret keys, which is universal, and then well mixed.
 * Nobody ever sees a hash, so that is enough, and it takes a tenth of the time of SipHash.
 */
static __always_inline __u64 fingerprint(const struct packet *packet)
{
	__u64 hash = guard.hash_keys[0] + guard.hash_keys[1] * packet->ports;

#pragma unroll
	for (int i = 0; i < 8; i++) {
		if (i < 2 || packet->is_ipv6)
			hash += guard.hash_keys[2 + i] * packet->addresses[i];
	}
	hash = (hash ^ hash >> 32) * 0xbf58476d1ce4e5b9;
	return hash ^ hash >> 32;
}

/* Whether one of a bucket's tags is this one. */
static __always_inline int holds(__u32 index, __u16 tag)
{
	const struct bucket *bucket = bpf_map_lookup_elem(&filter, &index);
	const __u64 ones = 0x0001000100010001ULL;

	if (!bucket)
		return 0;
#pragma unroll
	for (int i = 0; i < WORDS_PER_BUCKET; i++) {
		__u64 difference = bucket->words[i] ^ (tag * ones);

		/* One of the four lanes is zero. */
		if ((difference - ones) & ~difference & (ones << 15))
			return 1;
	}
	return 0;
}

static __always_inline int is_known(__u64 hash)
{
	__u16 tag = hash >> 48;
	__u32 first = hash & guard.bucket_mask;

	tag += !tag; /* a lane of zero is an empty one */
	return holds(first, tag) || holds((first ^ tag * 0x5bd1e995U) & guard.bucket_mask, tag) || guard.overflowed;
}

#endif
