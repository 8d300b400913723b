/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Whose pair a segment is of: an index of both ends of each, which workers write through shared memory, without a system call
 * (src/xdp/splice/index.rs). An end is in one of two buckets, by its hash; an entry has the pair's number, the side, and eight bits of the hash
 * above, and the pair itself says whether it is the one.
 */
#ifndef XSKIP_SPLICE_FIND_H
#define XSKIP_SPLICE_FIND_H

#include "parse.h"
#include "splice.h"

#define SPLICE_BUCKET 16
#define SPLICE_NUMBER 0xffffff
#define SPLICE_KEYS 6

struct splice_bucket {
	__u32 entries[SPLICE_BUCKET];
};

/* What ends are hashed by: the same for all programs that share a table. */
struct splice_hashing {
	__u64 keys[SPLICE_KEYS];
	__u32 mask; /* of numbers of buckets */
	__u32 padding;
};

const volatile struct splice_hashing splice_hashing = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct splice_bucket);
} splice_index SEC(".maps");

/* Whether there ever was a flow of the stack's at an address that is not: that stands behind all buckets. */
static __always_inline int has_claims(void)
{
	__u32 behind = splice_hashing.mask + 1;
	const struct splice_bucket *bucket = bpf_map_lookup_elem(&splice_index, &behind);

	return bucket && *(volatile const __u32 *)&bucket->entries[0];
}

/* Multilinear hashing (Lemire and Kaser 2014), and then well mixed: nobody ever sees a hash. */
static __always_inline __u64 hash_splice(const struct splice_key *key)
{
	__u64 hash = splice_hashing.keys[5];

	hash += splice_hashing.keys[0] * key->local.halves[0] + splice_hashing.keys[1] * key->local.halves[1];
	hash += splice_hashing.keys[2] * key->remote.halves[0] + splice_hashing.keys[3] * key->remote.halves[1];
	hash += splice_hashing.keys[4] * key->ports;
	hash = (hash ^ hash >> 32) * 0xbf58476d1ce4e5b9;
	return hash ^ hash >> 32;
}

static __always_inline int splice_is_of(__u32 number, const struct splice_key *key)
{
	__u32 index = number >> 1;
	const struct splice_pair *pair = bpf_map_lookup_elem(&splice_pairs, &index);
	const struct splice_end *end;

	if (!pair)
		return 0;
	end = &pair->ends[number & 1];
	return end->ports == key->ports && end->remote.halves[0] == key->remote.halves[0] &&
	       end->remote.halves[1] == key->remote.halves[1] && end->local.halves[0] == key->local.halves[0] &&
	       end->local.halves[1] == key->local.halves[1];
}

static __always_inline void splice_address(struct address *address, const __u32 *words, __u32 is_ipv6)
{
	if (is_ipv6)
		__builtin_memcpy(address, words, sizeof(*address));
	else
		map_ipv4(address, words[0]);
}

/* Whose a segment is: the pair's number, and in the lowest bit its side; -1 for nobody's. */
__attribute__((noinline)) int splice_find(const struct packet *packet)
{
	struct splice_key key = {};
	__u64 hash;
	__u32 tag;

	if (!splicing || !packet)
		return -1;
	splice_address(&key.local, packet->addresses + (packet->is_ipv6 ? 4 : 1), packet->is_ipv6);
	splice_address(&key.remote, packet->addresses, packet->is_ipv6);
	/* An IPv4 address in IPv6 is nobody's (RFC 4942 section 2.2), and would be another's here. */
	if (packet->is_ipv6 && (is_mapped(&key.local) || is_mapped(&key.remote)))
		return -1;
	key.ports = packet->ports >> 16 | packet->ports << 16;
	hash = hash_splice(&key);
	tag = hash & 0xff ? hash & 0xff : 1;
	for (int which = 0; which < 2; which++) {
		__u32 index = (which ? hash >> 36 : hash >> 8) & splice_hashing.mask;
		const struct splice_bucket *bucket = bpf_map_lookup_elem(&splice_index, &index);

		if (!bucket)
			return -1;
		for (int i = 0; i < SPLICE_BUCKET; i++) {
			__u32 entry = *(volatile const __u32 *)&bucket->entries[i];

			if (entry >> 24 == tag && splice_is_of(entry & SPLICE_NUMBER, &key))
				return entry & SPLICE_NUMBER;
		}
	}
	return -1;
}

#endif
