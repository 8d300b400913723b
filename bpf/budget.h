/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What one source prefix may draw: so many SYN-ACKs in a tick, so that nobody is flooded through us whose address was forged.
 * A SYN above the budget is dropped, but answered when it comes again: clients repeat theirs, and random ones never do.
 */
#ifndef XSKIP_BUDGET_H
#define XSKIP_BUDGET_H

#include "guard.h"

#define PREFIXES 65536
#define CLOSED_PORTS PREFIXES /* the budgets behind those of the prefixes */
#define UNKNOWN_RESETS (PREFIXES + 1)
#define TOO_BIGS (PREFIXES + 2)
#define REPEATED_SYNS (1U << 20)

/* How long behind the first a SYN counts as repeated, in ticks: clients wait a second, then two, then four. */
#define REPEATED_AFTER 5
#define REPEATED_BEFORE 100
#define TICK_BITS 8
#define TICK_MASK ((1U << TICK_BITS) - 1)

struct budget {
	__u32 tick;
	__u32 used;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PREFIXES + 3);
	__type(key, __u32);
	__type(value, struct budget);
} budgets SEC(".maps");

/* SYNs above their budget: bits of their hash, and in the lowest the tick in which they came. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REPEATED_SYNS);
	__type(key, __u32);
	__type(value, __u32);
} repeated_syns SEC(".maps");

/* One of as many as there are in a tick, whatever that is: a budget is used with one kind of tick. */
static __always_inline int consume_budget(__u32 index, __u32 limit, __u32 tick)
{
	struct budget *budget = bpf_map_lookup_elem(&budgets, &index);

	if (!budget)
		return 0;
	if (budget->tick != tick) {
		budget->tick = tick;
		budget->used = 0;
	}
	if (budget->used >= limit)
		return 0;
	budget->used++;
	return 1;
}

/* The number of the budget of a /24 or a /56. Two prefixes may share one. */
static __always_inline __u32 prefix_of(const struct packet *packet)
{
	const __u32 rest = bpf_htonl(0xffffff00);
	__u64 hash = guard.hash_keys[0];

	if (packet->is_ipv6)
		hash += guard.hash_keys[2] * packet->addresses[0] + guard.hash_keys[3] * (packet->addresses[1] & rest);
	else
		hash += guard.hash_keys[2] * (packet->addresses[0] & rest);
	return (hash ^ hash >> 32) * 0xbf58476d1ce4e5b9 >> 48;
}

/* Whether this very SYN has come before, a while ago; remembers it if not. */
static __always_inline int is_repeated(__u64 hash, __be32 sequence)
{
	__u32 index, stamp, *slot, age;

	hash = (hash ^ sequence) * 0xbf58476d1ce4e5b9;
	index = (hash >> 32) & (REPEATED_SYNS - 1);
	slot = bpf_map_lookup_elem(&repeated_syns, &index);
	if (!slot)
		return 0;
	stamp = (__u32)hash << TICK_BITS | (guard.tick & TICK_MASK);
	age = (stamp - *slot) & TICK_MASK;
	if ((stamp ^ *slot) >> TICK_BITS == 0 && age < REPEATED_BEFORE)
		return age >= REPEATED_AFTER;
	*slot = stamp;
	return 0;
}

#endif
