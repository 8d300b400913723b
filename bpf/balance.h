/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What becomes of a packet for a service that backends serve. */
#ifndef XSKIP_BALANCE_H
#define XSKIP_BALANCE_H

#include "carry.h"
#include "decide.h"
#include "service.h"
#include "too_big.h"

/* Not actions: the stack gets the packet, and resets what is no flow of its own; */
#define TO_THE_STACK -1
#define TO_ANSWER -2 /* it is a SYN to be answered in backends' names; */
#define TO_VERIFY -3 /* to say first whether it ends a handshake */

/*
 * An ICMP error is about the flow that it quotes, which was sent in the name of the VIP: the client is where that was going. 0 where
 * it quotes what nobody sent from here.
 */
static __always_inline int read_quoted_flow(struct xdp_md *ctx, const struct packet *packet, const struct balancing *settings,
					    struct flow *flow)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *quote = data + (packet->quote_offset & MAX_QUOTE_OFFSET);
	__be16 *ports = quote + (packet->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__be16 vip_port = 0, client_port = 0;
	__u32 vip[4] = {}, client[4] = {};

	if (packet->quote_offset > MAX_QUOTE_OFFSET || (void *)(ports + 2) > data_end)
		return 0;
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = quote;

		__builtin_memcpy(vip, &ip->saddr, sizeof(vip));
		__builtin_memcpy(client, &ip->daddr, sizeof(client));
		if (vip[0] != packet->addresses[4] || vip[1] != packet->addresses[5] || vip[2] != packet->addresses[6] ||
		    vip[3] != packet->addresses[7])
			return 0;
	} else {
		struct iphdr *ip = quote;

		vip[0] = ip->saddr;
		client[0] = ip->daddr;
		if (vip[0] != packet->addresses[1])
			return 0;
	}
	if (!(flow->flags & BY_ADDRESS)) {
		vip_port = ports[0];
		client_port = ports[1];
	}
	flow->hash = hash_flow(&settings->key, vip, client, packet->is_ipv6, vip_port, client_port, packet->protocol);
	return 1;
}

static __always_inline enum kind kind_of(const struct packet *packet)
{
	if (packet->is_icmp)
		return KIND_ERROR;
	if (packet->fragment != FRAGMENT_NONE)
		return KIND_FRAGMENT;
	if (packet->protocol == IPPROTO_UDP)
		return KIND_DATAGRAM;
	if (packet->flags & FLAG_RST)
		return KIND_RST;
	if (packet->flags & FLAG_FIN)
		return KIND_FIN;
	return (packet->flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN ? KIND_SYN : KIND_SEGMENT;
}

/* Whose packet it is: 0 where it cannot be read. */
static __always_inline int read_flow(struct xdp_md *ctx, const struct packet *packet, const struct balancing *settings,
				     struct flow *flow)
{
	__be16 vip_port = packet->ports >> 16, client_port = packet->ports;
	const __u32 *vip = packet->addresses + (packet->is_ipv6 ? 4 : 1);

	flow->kind = kind_of(packet);
	flow->sequence = bpf_ntohl(packet->sequence);
	if (flow->kind == KIND_ERROR)
		return read_quoted_flow(ctx, packet, settings, flow);
	if (flow->flags & BY_ADDRESS)
		vip_port = client_port = 0;
	flow->hash = hash_flow(&settings->key, vip, packet->addresses, packet->is_ipv6, vip_port, client_port, packet->protocol);
	return 1;
}

/* Counts a packet that goes to a backend. */
static __always_inline void count_packet(const struct backend *backend, __u32 octets, int is_new)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &backend->tally);

	if (!tally)
		return;
	tally->packets++;
	tally->octets += octets;
	tally->flows += is_new;
}

/* Counts a segment that is reset, as its backend is down. */
static __always_inline void count_reset(const struct backend *backend)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &backend->tally);

	if (tally)
		tally->resets++;
}

/* Counts a flow whose SYN is answered in a backend's name. */
static __always_inline void count_flow(__u32 index)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &index);

	if (tally)
		tally->flows++;
}

/* Whether a SYN is to be answered here: not where answers would be lost, or nobody keeps the keys. */
static __always_inline int is_to_answer(const struct flow *flow, const struct service *service)
{
	return flow->kind == KIND_SYN && service->promises & HANDS_OVER && guard.way_out != NO_WAY && are_keys_kept();
}

/*
 * Whether a segment may end a handshake, in a row where that makes a difference. In a settled one it goes where its SYN would have
 * gone, whatever it is; and while backends answer SYNs themselves, nobody may know a cookie where its row leads now.
 */
static __always_inline int may_be_handshake(const struct packet *packet, const struct flow *flow, const struct service *service)
{
	return flow->kind == KIND_SEGMENT && service->promises & HANDS_OVER && (flow->flags & (BY_COOKIES | AT_ONCE)) == BY_COOKIES &&
	       (flow->row.before || flow->row.second & ROW_WATCHED) && (packet->flags & (FLAG_SYN | FLAG_ACK)) == FLAG_ACK;
}

/* Sends a frame on to a backend: an outcome where it gets no further, -1 where it does, with `action` set. */
static __always_inline int send_on(struct xdp_md *ctx, const struct backend *backend, __u32 octets, int is_new, int *action)
{
	void *data = (void *)(long)ctx->data;

	if (data + sizeof(struct ethhdr) > (void *)(long)ctx->data_end)
		return HINDERED_MALFORMED;
	address_frame(data, backend);
	*action = send_to(ctx, backend->ifindex);
	if (*action < 0)
		return HINDERED_UNDELIVERED;
	count_packet(backend, octets, is_new);
	return -1;
}

/* Sends a packet to the backend that was chosen: the outcome, with `action` set. */
static __always_inline enum outcome deliver(struct xdp_md *ctx, const struct packet *packet, const struct flow *flow,
					    const struct balancing *settings, __u32 mode, int *action)
{
	const struct backend *backend = flow->backend;
	struct inner inner = {};
	__u32 mtu;
	int hindered;

	if (!is_like(backend, HAS_WAY, 0))
		return HINDERED_NO_WAY;
	hindered = pass_on(ctx, packet, &inner);
	if (hindered >= 0)
		return hindered;
	mtu = backend->mtu - overhead(backend, mode);
	if (inner.length > mtu)
		return refuse_too_big(ctx, packet, settings->too_big_budget, mtu, action);
	if (mode != MODE_DSR && !encapsulate(ctx, packet, backend, &inner, mode, flow->hash))
		return HINDERED_HEADROOM;
	hindered = send_on(ctx, backend, inner.length, flow->kind == KIND_SYN && flow->why != WHY_REMEMBERED, action);
	return hindered < 0 ? flow->why : hindered;
}

/*
 * The action, or one of those that are none. A function of its own, like `walk_options`: the verifier walks it once, and not for each way to
 * get here.
 */
__attribute__((noinline)) int balance(struct xdp_md *ctx, struct packet *packet, const struct service *service)
{
	const struct balancing *settings;
	const struct balanced *its;
	struct flow flow = {};
	enum outcome outcome;
	int action = XDP_DROP;
	__u32 zero = 0;

	if (!packet || !service)
		return XDP_DROP;
	flow.service = service->number;
	settings = bpf_map_lookup_elem(&balance_settings, &zero);
	its = bpf_map_lookup_elem(&balanced, &flow.service);
	outcome = REFUSED_NO_SERVICE;
	if (!settings || !its)
		goto counted;
	flow.flags = its->flags;
	outcome = REFUSED_FRAGMENT;
	if (packet->fragment != FRAGMENT_NONE && !(flow.flags & BY_ADDRESS))
		goto counted;
	outcome = HINDERED_MALFORMED;
	if (packet->segment == SEGMENT_PARTIAL || !read_flow(ctx, packet, settings, &flow))
		goto counted;
	outcome = REFUSED_NO_BACKEND;
	if (!find_row(&flow, its))
		goto counted;
	if (is_to_answer(&flow, service)) {
		choose(&flow);
		outcome = flow.why;
		if (!flow.target || !flow.backend)
			goto counted;
		/* Its SYN comes again: to be told that there is somebody would be worse than to wait. */
		outcome = HINDERED_NO_WAY;
		if (!is_like(flow.backend, HAS_WAY, 0))
			goto counted;
		packet->tally = flow.backend->tally;
		return TO_ANSWER;
	}
	if (may_be_handshake(packet, &flow, service)) {
		if (packet->handshake == HANDSHAKE_UNKNOWN)
			return TO_VERIFY;
		flow.is_handshake = packet->handshake == HANDSHAKE_ENDS;
		flow.sequence -= flow.is_handshake;
	}
	decide(&flow, settings);
	if (flow.is_handshake && flow.why < WHY_NO_ROOM && flow.why != WHY_REMEMBERED)
		flow.why = WHY_COOKIE;
	outcome = flow.why;
	if (outcome == HANDED_RESET) {
		action = TO_THE_STACK;
		if (flow.backend)
			count_reset(flow.backend);
	} else if (flow.target)
		outcome = deliver(ctx, packet, &flow, settings, its->mode, &action);
counted:
	count(FIRST_OUTCOME + outcome);
	return outcome <= WHY_COOKIE || outcome >= TOLD_TOO_BIG ? action : XDP_DROP;
}

#endif
