/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What becomes of packets for services in mode `nat`, both ways: src/core/lb/nat/translate.rs does the same. */
#ifndef XSKIP_TRANSLATE_H
#define XSKIP_TRANSLATE_H

#include "balance.h"
#include "nat_open.h"
#include "rewrite.h"

/* An address as it stands in `packet`, or in a quoted header. */
static __always_inline void copy_address(struct address *address, const __u32 *words, int is_ipv6)
{
	if (is_ipv6)
		__builtin_memcpy(address, words, sizeof(*address));
	else
		map_ipv4(address, words[0]);
}

/* What an ICMP error quotes: who sent that, and to whom. 0 where it was not sent from where the error went. */
static __always_inline int read_quote(struct xdp_md *ctx, const struct packet *packet, struct address *receiver, __u32 *ports)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *quote = data + (packet->quote_offset & MAX_QUOTE_OFFSET);
	__u32 *behind = quote + (packet->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct address sender = {}, ours = {};

	if (packet->quote_offset > MAX_QUOTE_OFFSET || (void *)(behind + 1) > data_end)
		return 0;
	copy_address(&ours, packet->addresses + (packet->is_ipv6 ? 4 : 1), packet->is_ipv6);
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = quote;

		copy_address(&sender, ip->saddr.s6_addr32, 1);
		copy_address(receiver, ip->daddr.s6_addr32, 1);
	} else {
		struct iphdr *ip = quote;

		copy_address(&sender, &ip->saddr, 0);
		copy_address(receiver, &ip->daddr, 0);
	}
	*ports = *behind;
	return is_same_address(&sender, &ours);
}

/* Whose flow a client's packet is, or an ICMP error is about; 0 where it cannot be read, or rewritten. */
static __always_inline int read_ends(struct xdp_md *ctx, const struct packet *packet, struct nat_ends *ends)
{
	__u32 ports = packet->ports;

	ends->is_udp = packet->protocol == IPPROTO_UDP;
	copy_address(&ends->service, packet->addresses + (packet->is_ipv6 ? 4 : 1), packet->is_ipv6);
	if (packet->is_icmp) {
		if (!read_quote(ctx, packet, &ends->client, &ports))
			return 0;
		ports = ports << 16 | ports >> 16;
	} else {
		if (packet->segment == SEGMENT_PARTIAL || !transport_of(ctx, packet))
			return 0;
		copy_address(&ends->client, packet->addresses, packet->is_ipv6);
	}
	ends->client_port = ports;
	ends->service_port = ports >> 16;
	/* An IPv4 address in IPv6 is nobody's (RFC 4942 section 2.2), and would be another client's here. */
	return is_mapped(&ends->client) != packet->is_ipv6;
}

/* Whether a flow goes on to where it went, and whether it may be opened anew where it does not. */
static __always_inline int stays(const struct nat_flow *flow, const struct backend *backend, enum kind kind)
{
	int is_its_port;

	if (!is_like(backend, IS_LIVE, 0) || !is_same_address(&backend->address, &flow->backend))
		return 0;
	/* What begins goes to the port that a backend has now. */
	is_its_port = (backend->port ? backend->port : flow->service_port) == flow->backend_port;
	if (kind == KIND_SYN && (is_opening(flow) || is_closing(flow)))
		return is_its_port && is_like(backend, TAKES_NEW, 0);
	return kind != KIND_DATAGRAM || (is_its_port && is_like(backend, 0, IS_DOWN));
}

/* Who handed on a frame, or whom answers go to behind a director, and whom it was for. */
static __always_inline void read_link(struct xdp_md *ctx, __u16 *link)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 head = guard.answers_head, tail = guard.answers_tail;
	const __u16 *words = data;

	if (data + sizeof(struct ethhdr) > data_end)
		return;
#pragma unroll
	for (int i = 0; i < 3; i++) {
		link[i] = words[3 + i];
		link[3 + i] = words[i];
	}
	if (tail) {
		link[0] = head;
		link[1] = head >> 16;
		link[2] = tail;
	}
}

/* Whence a client's packet came is where answers go: routers may change while a flow lives. */
static __always_inline void learn_way(struct xdp_md *ctx, struct nat_flow *flow)
{
	__u16 link[6] = {};

	read_link(ctx, link);
	if (flow->ifindex != ctx->ingress_ifindex)
		flow->ifindex = ctx->ingress_ifindex;
#pragma unroll
	for (int i = 0; i < 6; i++) {
		if (flow->link[i] != link[i])
			flow->link[i] = link[i];
	}
}

/* Says what flow is to be opened to where rows lead now; 0, with the reason in `flow->why`, where they lead nowhere. */
static __always_inline int prepare(struct xdp_md *ctx, struct flow *flow, struct nat_opening *opening, const struct balanced *its,
				   const struct balancing *settings)
{
	flow->why = REFUSED_NO_BACKEND;
	if (!find_row(flow, its))
		return 0;
	flow->home = flow->row.now;
	opening->tick = flow->tick = current_tick();
	decide_any(flow, settings);
	if (!flow->target || !flow->backend) {
		/* Its number was just being written. */
		if (flow->why <= WHY_NO_ROOM)
			flow->why = REFUSED_NO_BACKEND;
		return 0;
	}
	opening->backend = flow->backend->address;
	/* A service of every port has backends of the same. */
	opening->backend_port = flow->backend->port ? flow->backend->port : opening->ends.service_port;
	opening->service_number = flow->service;
	opening->backend_number = flow->target;
	opening->ifindex = ctx->ingress_ifindex;
	read_link(ctx, opening->link);
	return 1;
}

/* What is found of a packet: the number of its flow, why it goes there, and whether that is to be opened first. */
#define FOUND_WHY 24
#define FOUND_NEW (1 << 29)

/* A flow that is known; -1 where none is, or it goes on no longer; or what becomes of the packet, an outcome below that. */
static __always_inline int follow(struct xdp_md *ctx, const struct flow *flow, const struct nat_ends *ends)
{
	int number = nat_find(ends);
	struct nat_set *set = number < 0 ? NULL : nat_set_of(number);
	const struct backend *backend;
	struct nat_flow *known;

	if (!set)
		return -1;
	known = &set->flows[number & (NAT_WAYS - 1)];
	backend = backend_of(known->service_number, known->backend_number);
	if (!stays(known, backend, flow->kind)) {
		if (flow->kind == KIND_SYN || flow->kind == KIND_DATAGRAM)
			nat_release(number, ends);
		return -1;
	}
	if (is_like(backend, RESETS, 0) && (flow->kind == KIND_SEGMENT || flow->kind == KIND_FIN)) {
		count_reset(backend);
		return -HANDED_RESET;
	}
	if (flow->kind != KIND_ERROR) {
		if (!nat_hear(set, number, flow->kind, 0, current_tick()))
			return -REFUSED_UNKNOWN;
		learn_way(ctx, known);
	}
	return number | WHY_REMEMBERED << FOUND_WHY;
}

/*
 * What is found of a client's packet, or what becomes of it otherwise: an outcome below zero. A flow that is to be opened is in
 * `nat_openings`. This, the opening and the sending come one after another, as a program's stack has no room for them together.
 */
__attribute__((noinline)) int find_flow(struct xdp_md *ctx, const struct packet *packet, __u32 service)
{
	const struct balancing *settings;
	const struct balanced *its;
	struct nat_opening *opening = nat_opening();
	struct flow flow = {};
	__u32 zero = 0, v4;
	int found;

	if (!packet || !opening)
		return -HINDERED_MALFORMED;
	flow.service = service;
	settings = bpf_map_lookup_elem(&balance_settings, &zero);
	its = bpf_map_lookup_elem(&balanced, &flow.service);
	if (!settings || !its)
		return -REFUSED_NO_BACKEND;
	if (packet->fragment != FRAGMENT_NONE)
		return -REFUSED_FRAGMENT;
	if (!read_ends(ctx, packet, &opening->ends))
		return -HINDERED_MALFORMED;
	flow.kind = kind_of(packet);
	flow.flags = its->flags;
	v4 = packet->is_ipv6 ? 0 : 3;
	flow.hash = hash_flow(&settings->key, opening->ends.service.words + v4, opening->ends.client.words + v4, packet->is_ipv6,
			      opening->ends.service_port, opening->ends.client_port, packet->protocol);
	opening->ends.hash = flow.hash;
	found = follow(ctx, &flow, &opening->ends);
	if (found != -1)
		return found;
	if (flow.kind == KIND_SEGMENT || flow.kind == KIND_FIN)
		return -HANDED_UNKNOWN;
	if (flow.kind != KIND_SYN && flow.kind != KIND_DATAGRAM)
		return -REFUSED_UNKNOWN;
	return prepare(ctx, &flow, opening, its, settings) ? (int)(FOUND_NEW | flow.why << FOUND_WHY) : -(int)flow.why;
}

/* Sends a packet to the backend of its flow: the outcome, with `action` set. */
static __always_inline enum outcome carry_on(struct xdp_md *ctx, const struct packet *packet, const struct nat_set *set, __u32 found,
					     int *action)
{
	const struct nat_flow *flow = &set->flows[found & (NAT_WAYS - 1)];
	__u64 key = set->keys[found & (NAT_WAYS - 1)];
	const struct backend *backend = backend_of(flow->service_number, flow->backend_number);
	const struct nat_settings *settings = nat();
	const struct balancing *balancing;
	struct nat_pair ends = {};
	struct inner inner = {};
	__u32 zero = 0;
	int hindered;

	balancing = bpf_map_lookup_elem(&balance_settings, &zero);
	if (!settings || !balancing || !is_like(backend, HAS_WAY, 0))
		return HINDERED_NO_WAY;
	hindered = pass_on(ctx, packet, &inner);
	if (hindered >= 0)
		return hindered;
	if (inner.length > backend->mtu)
		return refuse_too_big(ctx, packet, balancing->too_big_budget, backend->mtu, action);
	ends.source = settings->source[key >> 16 & (2 * MAX_NAT_SOURCES - 1)];
	ends.destination = flow->backend;
	ends.source_port = bpf_htons(key);
	ends.destination_port = flow->backend_port;
	ends.end = packet->ip_offset + inner.length;
	if (!rewrite(ctx, packet, &ends))
		return HINDERED_MALFORMED;
	hindered = send_on(ctx, backend, inner.length, !!(found & FOUND_NEW), action);
	return hindered < 0 ? (int)(found >> FOUND_WHY & 0x1f) : hindered;
}

/* Sends a packet to the backend of its flow: the action, which is counted. */
__attribute__((noinline)) int send_to_backend(struct xdp_md *ctx, const struct packet *packet, __u32 found)
{
	struct nat_set *set = nat_set_of(found);
	enum outcome outcome = HINDERED_NO_WAY;
	int action = XDP_DROP;

	if (packet && set)
		outcome = carry_on(ctx, packet, set, found, &action);
	count(FIRST_OUTCOME + outcome);
	return outcome <= WHY_NO_ROOM || outcome >= TOLD_TOO_BIG ? action : XDP_DROP;
}

/* What becomes of a client's packet: the action, or TO_THE_STACK. */
static __always_inline int translate(struct xdp_md *ctx, const struct packet *packet, const struct service *service)
{
	int found = find_flow(ctx, packet, service->number), number;

	if (found >= 0 && found & FOUND_NEW) {
		number = nat_open();
		found = number >= 0 ? found | number : number == NAT_FULL ? -REFUSED_NAT_FULL : -REFUSED_NO_PORT;
	}
	if (found >= 0)
		return send_to_backend(ctx, packet, found);
	count(FIRST_OUTCOME - found);
	return found == -HANDED_RESET || found == -HANDED_UNKNOWN ? TO_THE_STACK : XDP_DROP;
}

/* Sends an answer to the client of its flow. */
static __always_inline enum outcome send_to_client(struct xdp_md *ctx, const struct packet *packet, const struct nat_flow *flow,
						   int *action)
{
	struct nat_pair ends = {};
	struct inner inner = {};
	void *data;
	int hindered = pass_on(ctx, packet, &inner);

	if (hindered >= 0)
		return hindered;
	ends.source = flow->service;
	ends.destination = flow->client;
	ends.source_port = flow->service_port;
	ends.destination_port = flow->client_port;
	ends.end = packet->ip_offset + inner.length;
	if (!rewrite(ctx, packet, &ends))
		return HINDERED_MALFORMED;
	data = (void *)(long)ctx->data;
	if (data + sizeof(struct ethhdr) > (void *)(long)ctx->data_end)
		return HINDERED_MALFORMED;
	__builtin_memcpy(data, flow->link, sizeof(flow->link));
	*action = send_to(ctx, flow->ifindex);
	return *action < 0 ? HINDERED_UNDELIVERED : SENT_ANSWER;
}

/* What becomes of a packet for an address that flows come from: the action, or TO_THE_STACK where it is of none. */
__attribute__((noinline)) int translate_answer(struct xdp_md *ctx, const struct packet *packet, const struct service *service)
{
	struct nat_answer answer = {};
	struct nat_set *set;
	struct nat_flow *flow;
	enum outcome outcome;
	enum kind kind;
	__u32 ports;
	int number, action = XDP_DROP;

	if (!packet || !service || packet->fragment != FRAGMENT_NONE)
		return TO_THE_STACK;
	ports = packet->ports;
	if (packet->is_icmp) {
		if (!read_quote(ctx, packet, &answer.backend, &ports))
			return TO_THE_STACK;
		ports = ports << 16 | ports >> 16;
	} else {
		if (packet->segment == SEGMENT_PARTIAL || !transport_of(ctx, packet))
			return TO_THE_STACK;
		copy_address(&answer.backend, packet->addresses, packet->is_ipv6);
	}
	answer.backend_port = ports;
	answer.port = bpf_ntohs(ports >> 16);
	answer.source = service->number;
	answer.is_udp = packet->protocol == IPPROTO_UDP;
	number = nat_find_answer(&answer);
	set = number < 0 ? NULL : nat_set_of(number);
	if (!set)
		return TO_THE_STACK;
	flow = &set->flows[number & (NAT_WAYS - 1)];
	kind = kind_of(packet);
	if (kind != KIND_ERROR && !nat_hear(set, number, kind, 1, current_tick()))
		return TO_THE_STACK;
	outcome = send_to_client(ctx, packet, flow, &action);
	count(FIRST_OUTCOME + outcome);
	return outcome == SENT_ANSWER ? action : XDP_DROP;
}

#endif
