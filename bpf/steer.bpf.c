/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Steers a NIC queue's traffic: what is addressed to the stack goes to the queue's AF_XDP socket, everything else to the
 * kernel, untouched. While a listener is guarded, SYNs for it are answered here, and segments of no known flow end here.
 */
#include "answer.h"
#include "budget.h"
#include "ends.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_ACK 0x10

/* Whether it is for a listed port of an address that the kernel keeps. */
static __always_inline int is_listed(const struct packet *packet)
{
	struct service service = {};

	if (!packet->port)
		return 0;
	service.address = packet->destination;
	service.port = packet->port;
	service.protocol = packet->protocol;
	return !!bpf_map_lookup_elem(&shared_ports, &service);
}

/*
 * A fragment to an address that the kernel keeps. Put together there, a segment for a listed port would be reset, and our connection
 * with it. The stack refuses all fragments, so it gets them: the first one by its port, and the others by what they have in common
 * with one of late. Whatever overtakes its first fragment passes, and is nothing without it.
 */
static __always_inline enum verdict address_fragment(const struct packet *packet)
{
	struct fragmented whole = { .id = packet->fragment_id };
	const __u8 yes = 1;

	__builtin_memcpy(whole.addresses, packet->addresses, sizeof(whole.addresses));
	if (packet->fragment == FRAGMENT_LATER)
		return bpf_map_lookup_elem(&fragmented, &whole) ? REDIRECTED_SHARED : PASSED_FOREIGN;
	if (!is_listed(packet))
		return PASSED_FOREIGN;
	bpf_map_update_elem(&fragmented, &whole, &yes, BPF_ANY);
	return REDIRECTED_SHARED;
}

/* Whom a frame is for: REDIRECTED_... where it is the stack's. */
static __always_inline enum verdict address(enum reading reading, const struct packet *packet)
{
	if (reading == READ_MALFORMED)
		return PASSED_MALFORMED;
	if (reading == READ_OTHER_VLAN)
		return PASSED_VLAN;
	if (reading == READ_FOREIGN)
		return PASSED_FOREIGN;
	if (reading == READ_NEIGHBOUR && bpf_map_lookup_elem(&own_addresses, &packet->target))
		return REDIRECTED_NEIGHBOUR;
	if (bpf_map_lookup_elem(&own_addresses, &packet->destination))
		return reading == READ_ARP ? REDIRECTED_ARP : REDIRECTED_OWN;
	if (packet->fragment)
		return address_fragment(packet);
	return is_listed(packet) ? REDIRECTED_SHARED : PASSED_FOREIGN;
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

/* A segment of no known flow. */
static __always_inline enum verdict judge_stranger(struct xdp_md *ctx, const struct packet *packet, __u64 hash,
						   int within_budget, enum verdict ours)
{
	const __u8 yes = 1;

	/* It may end a handshake that was answered here, and must not come back: the stack remembers it, unless there are many. */
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
 * What becomes of a SYN for a guarded listener: the answer's action is left in `action`. NO_VERDICT where it may be the stack's
 * after all: because it knows the flow, as a connection or in TIME-WAIT, or because an answer from here would be lost.
 */
static __always_inline enum verdict meet_syn(struct xdp_md *ctx, const struct packet *packet, const struct listener *listener,
					     int *action)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	/* A known flow's takes from the budget like any other: what is left must not tell who is connected. */
	int within_budget = !guard.prefix_budget || spend(prefix_of(packet), guard.prefix_budget);
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
static __always_inline enum verdict judge(struct xdp_md *ctx, const struct packet *packet, const struct listener *listener,
					  enum verdict ours)
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
	if (listener && !listener->guarded)
		return ours;
	/* As with a listener's SYNs, known flows spend it, too. */
	if (packet->flags & FLAG_RST)
		within_budget = spend(STRANGE_RESETS, guard.closed_budget);
	else if (is_syn(packet) && !listener)
		within_budget = spend(CLOSED_PORTS, guard.closed_budget);
	hash = fingerprint(packet);
	if (is_known(hash))
		return ours;
	if (is_syn(packet))
		return within_budget ? ours : DROPPED_CLOSED;
	verdict = judge_stranger(ctx, packet, hash, within_budget, ours);
	return guard.armed == LEARNING ? ours : verdict;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	const struct listener *listener = NULL;
	struct packet packet = {};
	enum reading reading = read_packet(ctx, &packet);
	enum verdict verdict;
	int action = XDP_DROP;
	__u64 *seen;

	/* A SYN for a listener comes first: of these there may be millions. */
	if (packet.segment >= SEGMENT_PLAIN && (guard.armed != DISARMED || is_syn(&packet)))
		listener = find_listener(&packet);
	if (listener && is_syn(&packet)) {
		seen = bpf_map_lookup_elem(&syns, &listener->number);
		if (seen)
			*seen += 1;
		verdict = listener->guarded ? meet_syn(ctx, &packet, listener, &action) : NO_VERDICT;
		if (verdict != NO_VERDICT) {
			count(verdict);
			return action < 0 ? XDP_DROP : action;
		}
	}
	verdict = address(reading, &packet);
	if (verdict <= PASSED_VLAN) {
		count(verdict);
		return XDP_PASS;
	}
	if (guard.armed != DISARMED) {
		verdict = judge(ctx, &packet, listener, verdict);
		if (verdict > ANSWERED_SYN) {
			count(verdict);
			return XDP_DROP;
		}
	}
	action = bpf_redirect_map(&queues, ctx->rx_queue_index, XDP_DROP);
	count(action == XDP_REDIRECT ? verdict : DROPPED_NO_SOCKET);
	return action;
}
