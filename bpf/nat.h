/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The table of flows that are rewritten: src/core/lb/nat, step by step. Programs open flows (nat_open.h), find them and hear of them;
 * user space ends those that are over.
 */
#ifndef XSKIP_NAT_H
#define XSKIP_NAT_H

#include "decide.h"

#define NAT_WAYS 8
#define NAT_BUCKET 16
#define NAT_NUMBER 0xffffff
/* Of each IP version: those of IPv6 have the numbers behind. */
#define MAX_NAT_SOURCES 8

/* A key: the port, the source's number, the protocol, the state, and the hash from bit 24 on. */
#define NAT_UDP (1ULL << 20)
#define NAT_STATE (3ULL << 21)
#define NAT_CLAIMED (1ULL << 21)
#define NAT_LIVE (2ULL << 21) /* what is found has this bit */
#define NAT_TAG (~0ULL << 24)

/* What an end has said. */
#define SAID_SPOKEN 0x01
#define SAID_FIN 0x02
#define SAID_RST 0x04

struct nat_flow {
	struct address client;
	struct address service;
	struct address backend;
	__be16 client_port;
	__be16 service_port;
	__be16 backend_port;
	__u16 heard;
	__u16 service_number;
	__u16 backend_number;
	__u8 client_said;
	__u8 backend_said;
	__u16 padding;
	__u32 place; /* in the index */
	__u32 ifindex;
	__u16 link[6]; /* who hands on frames to the client, and whom they come from */
	__u32 padding2;
};

struct nat_set {
	__u64 keys[NAT_WAYS];
	struct nat_flow flows[NAT_WAYS];
};

_Static_assert(sizeof(struct nat_set) == 8 * 96 && __builtin_offsetof(struct nat_flow, client_port) == 48 &&
		       __builtin_offsetof(struct nat_flow, service_number) == 56 &&
		       __builtin_offsetof(struct nat_flow, place) == 64 && __builtin_offsetof(struct nat_flow, link) == 72,
	       "src/core/lb/nat/flow.rs has it word by word");

/* Numbers of flows, with eight bits of their hash above. */
struct nat_bucket {
	__u32 entries[NAT_BUCKET];
};

struct nat_settings {
	__u64 keys[4];
	__u32 set_mask;
	__u32 bucket_mask;
	__u32 cpus;
	__u32 ports; /* of each source, for a CPU */
	__u32 sources[2]; /* how many there are of IPv4, and of IPv6 */
	struct address source[2 * MAX_NAT_SOURCES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_settings);
} nat_settings SEC(".maps");

/* Both are as small as can be where nothing is rewritten, and get their size before loading. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_set);
} nat_sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_bucket);
} nat_index SEC(".maps");

/* A client's flow. */
struct nat_ends {
	struct address client;
	struct address service;
	__u64 hash; /* of its row */
	__be16 client_port;
	__be16 service_port;
	__u32 is_udp;
};

/* What an answer is found by. */
struct nat_answer {
	struct address backend;
	__be16 backend_port;
	__u16 port; /* in host order */
	__u16 source;
	__u16 is_udp;
};

/* A flow that is to be opened. */
struct nat_opening {
	struct nat_ends ends;
	struct address backend;
	__be16 backend_port;
	__u16 service_number;
	__u16 backend_number;
	__u16 tick;
	__u32 ifindex;
	__u16 link[6];
	__u32 taken; /* Tries whose port another flow has, one bit each. Here the verifier does not follow each of them. */
};

/* The flow that a CPU is about to open: a program's stack has no room for it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nat_opening);
} nat_openings SEC(".maps");

/*
 * Compare-and-swap; returns what was there. The instruction is written out, as clang has it for its later dialect of BPF only, in which
 * this program takes more of the stack than there is.
 */
static __always_inline __u64 swap_64(__u64 *at, __u64 old, __u64 new)
{
	register __u64 found asm("r0") = old;
	register __u64 *where asm("r1") = at;
	register __u64 with asm("r2") = new;

	asm volatile(".8byte 0x000000f1000021db" : "+r"(found) : "r"(where), "r"(with) : "memory");
	return found;
}

static __always_inline __u32 swap_32(__u32 *at, __u32 old, __u32 new)
{
	register __u64 found asm("r0") = old;
	register __u32 *where asm("r1") = at;
	register __u64 with asm("r2") = new;

	asm volatile(".8byte 0x000000f1000021c3" : "+r"(found) : "r"(where), "r"(with) : "memory");
	return found;
}

static __always_inline struct nat_set *nat_set_of(__u32 number)
{
	__u32 set = (number & NAT_NUMBER) / NAT_WAYS;

	return bpf_map_lookup_elem(&nat_sets, &set);
}

static __always_inline struct nat_opening *nat_opening(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nat_openings, &zero);
}

static __always_inline const struct nat_settings *nat(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nat_settings, &zero);
}

/* Multilinear hashing (Lemire and Kaser 2014), and then well mixed: nobody ever sees a hash. */
static __always_inline __u64 hash_answer(const struct nat_settings *settings, const struct nat_answer *answer)
{
	__u64 rest = answer->backend_port | (__u64)answer->port << 16 | (__u64)answer->source << 32 | (__u64)answer->is_udp << 40;
	__u64 hash = settings->keys[3] + settings->keys[0] * answer->backend.halves[0] + settings->keys[1] * answer->backend.halves[1];

	hash += settings->keys[2] * rest;
	hash = (hash ^ hash >> 32) * 0xbf58476d1ce4e5b9;
	return hash ^ hash >> 32;
}

static __always_inline __u64 nat_key(__u64 hash, const struct nat_answer *answer)
{
	return (hash & NAT_TAG) | (answer->is_udp ? NAT_UDP : 0) | (__u64)(answer->source & 0xf) << 16 | answer->port;
}

static __always_inline int is_same_address(const struct address *one, const struct address *other)
{
	return one->halves[0] == other->halves[0] && one->halves[1] == other->halves[1];
}

static __always_inline int is_between(const struct nat_flow *flow, const struct nat_ends *ends)
{
	return flow->client_port == ends->client_port && flow->service_port == ends->service_port &&
	       is_same_address(&flow->client, &ends->client) && is_same_address(&flow->service, &ends->service);
}

/* Whether the flow of a number is a client's. Functions of their own here are so that the verifier walks each once. */
__attribute__((noinline)) int nat_is_of(__u32 number, const struct nat_ends *ends)
{
	const struct nat_set *set = nat_set_of(number);
	const struct nat_flow *flow;
	__u64 key;

	if (!set || !ends)
		return 0;
	key = set->keys[number & (NAT_WAYS - 1)];
	flow = &set->flows[number & (NAT_WAYS - 1)];
	return key & NAT_LIVE && !(key & NAT_UDP) == !ends->is_udp && is_between(flow, ends);
}

static __always_inline __u32 nat_tag(__u64 hash)
{
	return hash & 0xff ? hash & 0xff : 1;
}

/* The two buckets of a hash. */
static __always_inline __u32 nat_bucket_of(const struct nat_settings *settings, __u64 hash, int which)
{
	return (which ? hash >> 36 : hash >> 8) & settings->bucket_mask;
}

/* The number of the flow that a client's packet is of, or -1. */
__attribute__((noinline)) int nat_find(const struct nat_ends *ends)
{
	const struct nat_settings *settings = nat();

	if (!settings || !ends)
		return -1;
	for (int which = 0; which < 2; which++) {
		__u32 index = nat_bucket_of(settings, ends->hash, which);
		const struct nat_bucket *bucket = bpf_map_lookup_elem(&nat_index, &index);

		if (!bucket)
			return -1;
		for (int i = 0; i < NAT_BUCKET; i++) {
			__u32 entry = *(volatile const __u32 *)&bucket->entries[i];

			if (entry >> 24 == nat_tag(ends->hash) && nat_is_of(entry & NAT_NUMBER, ends))
				return entry & NAT_NUMBER;
		}
	}
	return -1;
}

/* The number of the flow that a backend's packet is of, or -1. */
__attribute__((noinline)) int nat_find_answer(const struct nat_answer *answer)
{
	const struct nat_settings *settings = nat();
	const struct nat_set *set;
	__u64 hash, key;
	__u32 index;

	if (!settings || !answer)
		return -1;
	hash = hash_answer(settings, answer);
	key = nat_key(hash, answer);
	index = hash & settings->set_mask;
	set = bpf_map_lookup_elem(&nat_sets, &index);
	if (!set)
		return -1;
	for (int i = 0; i < NAT_WAYS; i++) {
		__u64 there = set->keys[i];

		if (!(there & NAT_LIVE) || (there ^ key) & ~NAT_STATE)
			continue;
		if (set->flows[i].backend_port == answer->backend_port && is_same_address(&set->flows[i].backend, &answer->backend))
			return index * NAT_WAYS + i;
		return -1;
	}
	return -1;
}

static __always_inline int is_opening(const struct nat_flow *flow)
{
	return !(flow->client_said & flow->backend_said & SAID_SPOKEN);
}

static __always_inline int is_closing(const struct nat_flow *flow)
{
	return flow->client_said & flow->backend_said & SAID_FIN || (flow->client_said | flow->backend_said) & SAID_RST;
}

/* Whether a place is that flow's still, which somebody else may just have taken for over. */
static __always_inline int is_still(const __u64 *at, __u64 key)
{
	__u64 there = *(volatile const __u64 *)at;

	return there & NAT_LIVE && !((there ^ key) & ~NAT_STATE);
}

/* Takes down that a flow's packet has come; 0 where the flow has gone. What is there already is not written again. */
static __always_inline int nat_hear(struct nat_set *set, __u32 number, enum kind kind, int answers, __u16 tick)
{
	struct nat_flow *flow = &set->flows[number & (NAT_WAYS - 1)];
	__u64 *at = &set->keys[number & (NAT_WAYS - 1)], key = *at;
	__u8 said = answers ? flow->backend_said : flow->client_said, next = said;

	if (!(key & NAT_LIVE))
		return 0;
	if (key & NAT_CLAIMED) {
		/* It is dying, but has spoken. */
		__u64 found = swap_64(at, key, key ^ NAT_CLAIMED);

		if (found != key && !(found & NAT_LIVE))
			return 0;
	}
	if (flow->heard != tick)
		flow->heard = tick;
	if (kind == KIND_SYN && !answers) {
		if (is_closing(flow))
			flow->client_said = flow->backend_said = 0;
		return is_still(at, key);
	}
	if (kind == KIND_RST)
		next |= SAID_RST;
	else if (kind == KIND_FIN)
		next |= SAID_SPOKEN | SAID_FIN;
	else
		next = (next | SAID_SPOKEN) & ~SAID_RST;
	if (next != said) {
		if (answers)
			flow->backend_said = next;
		else
			flow->client_said = next;
	}
	return is_still(at, key);
}

static __always_inline void nat_leave_index(__u32 number, __u32 place)
{
	__u32 index = place / NAT_BUCKET, entry;
	struct nat_bucket *bucket = bpf_map_lookup_elem(&nat_index, &index);

	if (!bucket)
		return;
	entry = bucket->entries[place & (NAT_BUCKET - 1)];
	if ((entry & NAT_NUMBER) == number)
		swap_32(&bucket->entries[place & (NAT_BUCKET - 1)], entry, 0);
}

/* Ends a client's flow at once, if it has this number still. */
__attribute__((noinline)) int nat_release(__u32 number, const struct nat_ends *ends)
{
	struct nat_set *set = nat_set_of(number);
	__u64 *at, key;

	if (!set || !ends)
		return 0;
	at = &set->keys[number & (NAT_WAYS - 1)];
	key = *at;
	if (!(key & NAT_LIVE) || swap_64(at, key, (key & ~NAT_STATE) | NAT_CLAIMED) != key)
		return 0;
	if (!is_between(&set->flows[number & (NAT_WAYS - 1)], ends)) {
		*(volatile __u64 *)at = key;
		return 0;
	}
	nat_leave_index(number, set->flows[number & (NAT_WAYS - 1)].place);
	*(volatile __u64 *)at = 0;
	return 1;
}

#endif
