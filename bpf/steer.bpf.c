/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Steers a NIC queue's traffic: what is addressed to the stack goes to the queue's AF_XDP socket, everything else to the
 * kernel, untouched. While a listener is guarded, SYNs for it are answered here, and segments of no known flow end here.
 */
#include "answer.h"
#include "budget.h"
#include "ends.h"
#include "service.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_ACK 0x10

/*
 * A later fragment to an address that the kernel keeps. Put together there, a segment for a port of ours would be reset, and our
 * connection with it. The stack refuses all fragments, so it gets them: the first one by its port, and the others by what they have
 * in common with one of late. One that overtakes its first fragment passes, and the kernel can do nothing with it alone.
 */
static __always_inline enum verdict follow_first_fragment(const struct packet *packet)
{
	struct fragmented whole = { .id = packet->fragment_id };
	const enum verdict *first;

	__builtin_memcpy(whole.addresses, packet->addresses, sizeof(whole.addresses));
	first = bpf_map_lookup_elem(&fragmented, &whole);
	return first ? *first : PASSED_FOREIGN;
}

static __always_inline void remember_first_fragment(const struct packet *packet, enum verdict verdict)
{
	struct fragmented whole = { .id = packet->fragment_id };

	__builtin_memcpy(whole.addresses, packet->addresses, sizeof(whole.addresses));
	bpf_map_update_elem(&fragmented, &whole, &verdict, BPF_ANY);
}

/* Whom a frame is for, where the table says `service` of it: REDIRECTED_... where it is the stack's. */
static __always_inline enum verdict classify(enum reading reading, const struct packet *packet, const struct service *service)
{
	if (reading == READ_MALFORMED)
		return PASSED_MALFORMED;
	if (reading == READ_OTHER_VLAN)
		return PASSED_VLAN;
	if (reading == READ_FOREIGN)
		return PASSED_FOREIGN;
	if (reading == READ_NEIGHBOUR && find_slot(&packet->target, 0, 0))
		return REDIRECTED_NEIGHBOUR;
	if (!service)
		return packet->fragment == FRAGMENT_LATER ? follow_first_fragment(packet) : PASSED_FOREIGN;
	if (service->action < TO_STACK)
		return PASSED_FOREIGN;
	if (reading == READ_ARP)
		return REDIRECTED_ARP;
	if (packet->fragment == FRAGMENT_FIRST)
		remember_first_fragment(packet, service->verdict);
	return service->verdict;
}

/* A segment that may end a handshake: whether its numbers are a cookie. */
static __always_inline int ends_handshake(struct xdp_md *ctx, const struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = data + (packet->tcp_offset & MAX_TCP_OFFSET);
	struct options options = {};

	if (packet->segment != SEGMENT_PLAIN || (void *)(tcp + 1) > data_end)
		return 0;
	if (!read_options(ctx, packet, tcp, &options))
		return 0;
	return is_cookie(packet, bpf_ntohl(tcp->seq), bpf_ntohl(tcp->ack_seq), &options);
}

/* What becomes of a segment of no known flow. */
static __always_inline enum verdict filter_unknown_flow(struct xdp_md *ctx, const struct packet *packet, __u64 hash,
							int within_budget, enum verdict ours)
{
	const __u8 yes = 1;

	/* It may end a handshake that was answered here, whose cookie must count no more: the stack remembers that, within a budget. */
	if (packet->flags & FLAG_RST)
		return within_budget ? ours : DROPPED_RESET;
	if (!(packet->flags & FLAG_ACK))
		return DROPPED_STRAY;
	if (packet->flags & FLAG_SYN)
		return DROPPED_ACK;
	if (ends_handshake(ctx, packet)) {
		bpf_map_update_elem(&verified, &hash, &yes, BPF_ANY);
		return ours;
	}
	return bpf_map_lookup_elem(&verified, &hash) ? ours : DROPPED_ACK;
}

static __always_inline int is_syn(const struct packet *packet)
{
	return (packet->flags & (FLAG_SYN | FLAG_ACK | FLAG_RST | FLAG_FIN)) == FLAG_SYN;
}

/*
 * What becomes of a SYN for a guarded listener; where it is answered, `action` is set to the answer's. NO_VERDICT where it may be
 * the stack's after all: because the flow is known, as a connection or in TIME-WAIT, or because an answer from here would be lost.
 */
static __always_inline enum verdict handle_syn(struct xdp_md *ctx, const struct packet *packet, const struct service *listener,
					       int *action)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	/* SYNs of known flows use the budget up as well, or what is left of it would tell who is connected. */
	int within_budget = !guard.prefix_budget || consume_budget(prefix_of(packet), guard.prefix_budget);
	__u64 hash = fingerprint(packet);

	if (is_known(hash))
		return NO_VERDICT;
	if (packet->segment != SEGMENT_PLAIN || (void *)(ethernet + 1) > data_end || !has_possible_ends(packet, ethernet))
		return DROPPED_SYN;
	if (!within_budget && !is_repeated(hash, packet->sequence))
		return DROPPED_BUDGET;
	if (guard.way_out == NO_WAY)
		return NO_VERDICT;
	*action = answer_syn(ctx, packet, listener);
	return *action < 0 ? DROPPED_SYN : ANSWERED_SYN;
}

/* What becomes of anything else that is ours while a listener is guarded. */
static __always_inline enum verdict filter_segment(struct xdp_md *ctx, const struct packet *packet,
						   const struct service *service, enum verdict ours)
{
	enum verdict verdict;
	int within_budget = 1;
	__u64 hash;

	/* UDP is the stack's even where nobody listens: it says so, at a rate of its own. */
	if (packet->segment == SEGMENT_NONE) {
		if (packet->is_icmp || ours == REDIRECTED_ARP || (packet->protocol == IPPROTO_UDP && !packet->fragment))
			return ours;
		return DROPPED_STRAY;
	}
	if (packet->segment == SEGMENT_PARTIAL)
		return DROPPED_PARTIAL;
	if (is_listener(service) && service->action != TO_GUARDED)
		return ours;
	/* As with a listener's SYNs, those of known flows use it up as well. */
	if (packet->flags & FLAG_RST)
		within_budget = consume_budget(UNKNOWN_RESETS, guard.closed_budget);
	else if (is_syn(packet) && !is_listener(service))
		within_budget = consume_budget(CLOSED_PORTS, guard.closed_budget);
	hash = fingerprint(packet);
	if (is_known(hash))
		return ours;
	if (is_syn(packet))
		return within_budget ? ours : DROPPED_CLOSED;
	verdict = filter_unknown_flow(ctx, packet, hash, within_budget, ours);
	return guard.armed == LEARNING ? ours : verdict;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	const struct service *service = NULL;
	struct packet packet = {};
	enum reading reading = read_packet(ctx, &packet);
	enum verdict verdict;
	int action = XDP_DROP;

	if (reading >= READ_ARP)
		service = find_service(&packet);
	/* A SYN for a listener comes first: of these there may be millions. */
	if (is_syn(&packet) && is_listener(service)) {
		count_syn(service);
		verdict = service->action == TO_GUARDED ? handle_syn(ctx, &packet, service, &action) : NO_VERDICT;
		if (verdict != NO_VERDICT) {
			count(verdict);
			return action < 0 ? XDP_DROP : action;
		}
	}
	verdict = classify(reading, &packet, service);
	if (verdict <= PASSED_VLAN) {
		count(verdict);
		return XDP_PASS;
	}
	if (guard.armed != DISARMED) {
		verdict = filter_segment(ctx, &packet, service, verdict);
		if (verdict > ANSWERED_SYN) {
			count(verdict);
			return XDP_DROP;
		}
	}
	action = bpf_redirect_map(&queues, ctx->rx_queue_index, XDP_DROP);
	count(action == XDP_REDIRECT ? verdict : DROPPED_NO_SOCKET);
	return action;
}
