/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Opens flows that are rewritten: from which port, in whose place where there is none free. src/core/lb/nat/table.rs does the same. */
#ifndef XSKIP_NAT_OPEN_H
#define XSKIP_NAT_OPEN_H

#include "nat.h"

#define NAT_TRIES 16
#define FIRST_NAT_PORT 1024
#define NAT_TAKEN -1
#define NAT_FULL -2

/* Claims a free place in a set: its number, NAT_TAKEN where the key is another's already, or NAT_FULL. */
__attribute__((noinline)) int nat_claim_free(__u32 index, __u64 key)
{
	struct nat_set *set = bpf_map_lookup_elem(&nat_sets, &index);
	int way = NAT_FULL;

	if (!set)
		return NAT_TAKEN;
	for (int i = NAT_WAYS - 1; i >= 0; i--) {
		__u64 there = set->keys[i];

		if (!there)
			way = i;
		else if (!((there ^ key) & ~NAT_STATE))
			return NAT_TAKEN;
	}
	if (way == NAT_FULL)
		return NAT_FULL;
	way &= NAT_WAYS - 1;
	return swap_64(&set->keys[way], 0, key | NAT_CLAIMED) ? NAT_TAKEN : (int)(index * NAT_WAYS + way);
}

/* Whether it is over at the backend: that has reset it, or both ends have finished. A client's RST may be forged, and does not count. */
static __always_inline int has_ended(const struct nat_flow *flow)
{
	return flow->client_said & flow->backend_said & SAID_FIN || flow->backend_said & SAID_RST;
}

/* Whether a flow may make room for another: nobody has answered it for a tick or more, or it ended as long ago. */
static __always_inline int may_go(const struct nat_flow *flow, __u16 tick)
{
	return (is_opening(flow) || has_ended(flow)) && is_beyond(tick, flow->heard, 1);
}

/* Takes the place of a flow that may go; 0 where somebody else has, or it has just spoken. */
static __always_inline int nat_oust(struct nat_set *set, __u32 index, __u32 way, __u64 its, __u64 key, __u16 tick)
{
	if (swap_64(&set->keys[way], its, key | NAT_CLAIMED) != its)
		return 0;
	if (!may_go(&set->flows[way], tick)) {
		*(volatile __u64 *)&set->keys[way] = its;
		return 0;
	}
	nat_leave_index(index * NAT_WAYS + way, set->flows[way].place);
	return 1;
}

/* Claims the place of the oldest flow in a set that may go: its number, or NAT_FULL. */
__attribute__((noinline)) int nat_recycle(__u32 index, __u64 key, __u16 tick)
{
	struct nat_set *set = bpf_map_lookup_elem(&nat_sets, &index);
	int oldest = -1, most = -1;
	__u64 its = 0;

	if (!set)
		return NAT_FULL;
	for (int i = 0; i < NAT_WAYS; i++) {
		const struct nat_flow *flow = &set->flows[i];
		__u64 there = set->keys[i];
		int age = (__u16)(tick - flow->heard);

		if (there & NAT_LIVE && may_go(flow, tick) && age > most) {
			oldest = i;
			most = age;
			its = there;
		}
	}
	if (oldest < 0)
		return NAT_FULL;
	oldest &= NAT_WAYS - 1;
	return nat_oust(set, index, oldest, its, key, tick) ? (int)(index * NAT_WAYS + oldest) : NAT_FULL;
}

/* Claims the place and the port of a flow that has ended: its number, or NAT_TAKEN. */
__attribute__((noinline)) int nat_succeed(__u32 index, __u64 key, __u16 tick)
{
	struct nat_set *set = bpf_map_lookup_elem(&nat_sets, &index);

	if (!set)
		return NAT_TAKEN;
	for (int i = 0; i < NAT_WAYS; i++) {
		const struct nat_flow *flow = &set->flows[i];
		__u64 there = set->keys[i];

		if ((there ^ key) & ~NAT_STATE || !(there & NAT_LIVE) || !has_ended(flow) || !may_go(flow, tick))
			continue;
		return nat_oust(set, index, i, there, key, tick) ? (int)(index * NAT_WAYS + i) : NAT_TAKEN;
	}
	return NAT_TAKEN;
}

/* Where a flow could be: a set, the key that it would have there, and what its port is drawn by. */
struct nat_wish {
	__u64 key;
	__u32 set;
	__u32 draw;
};

static __always_inline __u32 nat_next_draw(__u32 draw)
{
	return draw * 0x9e3779b1 + 0x7f4a7c15;
}

static __always_inline __u32 nat_start(const struct nat_opening *opening)
{
	return opening->ends.hash ^ opening->ends.hash >> 32;
}

/* The place that a flow would have with the port of this try, and of this draw; 0 where it can have none. */
__attribute__((noinline)) int nat_wish_of(__u32 round, struct nat_wish *wish)
{
	const struct nat_settings *settings = nat();
	const struct nat_opening *opening = nat_opening();
	__u32 cpu = bpf_get_smp_processor_id(), sources;
	struct nat_answer answer = {};
	int is_ipv6;
	__u64 hash;

	if (!settings || !opening || !wish)
		return 0;
	is_ipv6 = !(opening->backend.halves[0] == 0 && opening->backend.words[2] == bpf_htonl(0xffff));
	sources = settings->sources[is_ipv6];
	/* A CPU that was not there when ports were shared out has none. */
	if (!sources || cpu >= settings->cpus)
		return 0;
	answer.backend = opening->backend;
	answer.backend_port = opening->backend_port;
	answer.is_udp = opening->ends.is_udp;
	answer.source = (nat_start(opening) % sources + round) % sources + (is_ipv6 ? MAX_NAT_SOURCES : 0);
	answer.port = FIRST_NAT_PORT + part(wish->draw, settings->ports) * settings->cpus + cpu;
	hash = hash_answer(settings, &answer);
	wish->key = nat_key(hash, &answer);
	wish->set = hash & settings->set_mask;
	return 1;
}

/*
 * Claims a number for a flow, from a port that no other has to its backend, and says its key: or NAT_TAKEN, or NAT_FULL. Where no such
 * port is found, from one whose flow is over: its backend may still wait for the last of that, and let the new one in when it is asked
 * again (RFC 9293 section 3.6.1).
 */
static __always_inline int nat_claim(struct nat_opening *opening, struct nat_wish *wish)
{
	int number = NAT_TAKEN, full = -1;
	__u32 draw_of_full = 0;

	opening->taken = 0;
	wish->draw = nat_start(opening);
	for (int i = 0; i < NAT_TRIES; i++) {
		wish->draw = nat_next_draw(wish->draw);
		if (!nat_wish_of(i, wish))
			return NAT_TAKEN;
		number = nat_claim_free(wish->set, wish->key);
		if (number >= 0)
			return number;
		if (number == NAT_TAKEN) {
			opening->taken |= 1 << i;
		} else if (full < 0) {
			full = i;
			draw_of_full = wish->draw;
		}
	}
	if (full >= 0) {
		wish->draw = draw_of_full;
		if (!nat_wish_of(full, wish))
			return NAT_TAKEN;
		number = nat_recycle(wish->set, wish->key, opening->tick);
		if (number >= 0)
			return number;
	}
	wish->draw = nat_start(opening);
	for (int i = 0; i < NAT_TRIES; i++) {
		wish->draw = nat_next_draw(wish->draw);
		if (!(opening->taken & 1 << i) || !nat_wish_of(i, wish))
			continue;
		number = nat_succeed(wish->set, wish->key, opening->tick);
		if (number >= 0)
			return number;
	}
	return full >= 0 ? NAT_FULL : NAT_TAKEN;
}

/* A place in the index for a flow that is claimed, or -1. */
__attribute__((noinline)) int nat_enter_index(__u32 index, __u32 entry)
{
	struct nat_bucket *bucket = bpf_map_lookup_elem(&nat_index, &index);

	if (!bucket)
		return -1;
	for (int i = 0; i < NAT_BUCKET; i++) {
		if (!bucket->entries[i] && !swap_32(&bucket->entries[i], 0, entry))
			return index * NAT_BUCKET + i;
	}
	return -1;
}

/* Opens the flow that is to be: its number, or NAT_TAKEN where no port is free, or NAT_FULL. */
__attribute__((noinline)) int nat_open(void)
{
	const struct nat_settings *settings = nat();
	struct nat_opening *opening = nat_opening();
	struct nat_wish wish = {};
	struct nat_flow *flow;
	struct nat_set *set;
	int number, place;
	__u32 entry;

	if (!settings || !opening)
		return NAT_FULL;
	number = nat_claim(opening, &wish);
	if (number < 0)
		return number;
	set = nat_set_of(number);
	if (!set)
		return NAT_FULL;
	entry = nat_tag(opening->ends.hash) << 24 | number;
	place = nat_enter_index(nat_bucket_of(settings, opening->ends.hash, 0), entry);
	if (place < 0)
		place = nat_enter_index(nat_bucket_of(settings, opening->ends.hash, 1), entry);
	if (place < 0) {
		*(volatile __u64 *)&set->keys[number & (NAT_WAYS - 1)] = 0;
		return NAT_FULL;
	}
	flow = &set->flows[number & (NAT_WAYS - 1)];
	flow->client = opening->ends.client;
	flow->service = opening->ends.service;
	flow->backend = opening->backend;
	flow->client_port = opening->ends.client_port;
	flow->service_port = opening->ends.service_port;
	flow->backend_port = opening->backend_port;
	flow->heard = opening->tick;
	flow->service_number = opening->service_number;
	flow->backend_number = opening->backend_number;
	flow->client_said = opening->ends.is_udp ? SAID_SPOKEN : 0;
	flow->backend_said = 0;
	flow->place = place;
	flow->ifindex = opening->ifindex;
	__builtin_memcpy(flow->link, opening->link, sizeof(flow->link));
	/* A full barrier, so that whoever finds it finds all of it. */
	swap_64(&set->keys[number & (NAT_WAYS - 1)], wish.key | NAT_CLAIMED, wish.key | NAT_LIVE);
	return number;
}

#endif
