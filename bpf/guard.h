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
/* Listeners of one port, each at an address of its own. */
#define MAX_SAME_PORT 256

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
	NO_WAY,      /* nobody at the other end takes them: the stack answers in our place, whose frames go another way */
};

/* What becomes of a SYN whose checksum is that of the pseudo-header alone. */
enum unfinished {
	REFUSED, /* it does not add up */
	TAKEN,   /* its answer's adds up */
	KEPT,    /* its answer's is one like it: the packet around it remembers that somebody is to finish it (generic mode) */
};

/* Settings that user space changes at any time, by writing to memory shared with it. src/xdp/guard.rs mirrors them. */
struct guard {
	__u32 armed;         /* an `enum armed`: everything else counts only while it is not DISARMED */
	__u32 epoch;         /* the current one: its key is keys[epoch % EPOCH_KEYS] */
	__u32 way_out;       /* an `enum way_out` */
	__u32 closed_budget; /* SYNs for ports that nobody listens on that may pass, in a tick and on a CPU; as many strange RSTs */
	__u32 unlisted;      /* flows that found no room in the table: while there are any, a miss proves nothing */
	__u32 bucket_mask;
	__u32 zero;          /* for ever: a nought that the verifier takes for any number */
	__u32 unfinished;    /* an `enum unfinished` */
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
};

volatile struct guard guard;

/* A listener, and what its SYN-ACKs say; src/xdp/guard.rs mirrors it. */
struct listener {
	struct address address;
	__u32 number;  /* its index in `listeners` and `syns` */
	__u32 guarded; /* whether SYNs are answered here */
	__u32 next;    /* the next one of the same port, numbered from 1; 0 for none */
	__u16 mss;
	__u16 window;
	__u8 window_scale;
	__u8 hop_limit;
	__u8 sack;
	__u8 traffic_class;
	__u8 padding[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set before loading */
	__type(key, __u32);
	__type(value, struct listener);
} listeners SEC(".maps");

/* The first listener of each port, numbered from 1; 0 for none. The port is in network byte order. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

/* SYNs seen, by listener. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1); /* likewise */
	__type(key, __u32);
	__type(value, __u64);
} syns SEC(".maps");

/* Arrays, not a hash table: a port has a listener or two, and a flood asks for them millions of times a second. */
static __always_inline const struct listener *find_listener(const struct packet *packet)
{
	__u32 index = packet->port;
	const __u32 *first = bpf_map_lookup_elem(&ports, &index);

	index = first ? *first : 0;
	for (int i = 0; i < MAX_SAME_PORT && index; i++) {
		const struct listener *listener;

		index--;
		listener = bpf_map_lookup_elem(&listeners, &index);
		if (!listener)
			return NULL;
		if (listener->address.halves[0] == packet->destination.halves[0] &&
		    listener->address.halves[1] == packet->destination.halves[1])
			return listener;
		index = listener->next;
	}
	return NULL;
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
	return holds(first, tag) || holds((first ^ tag * 0x5bd1e995U) & guard.bucket_mask, tag) || guard.unlisted;
}

#endif
