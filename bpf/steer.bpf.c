/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Steers a NIC queue's traffic: what is addressed to the stack goes to the queue's AF_XDP socket, everything else to the
 * kernel, untouched. While a listener is guarded, SYNs for it are answered here, and segments of no known flow end here.
 */
#include "answer.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_ACK 0x10

static __always_inline enum verdict address(struct xdp_md *ctx, struct packet *packet, struct service *service)
{
	enum reading reading = read_packet(ctx, packet);

	if (reading == READ_MALFORMED)
		return PASSED_MALFORMED;
	if (reading == READ_FOREIGN)
		return PASSED_FOREIGN;
	service->address = packet->destination;
	service->port = packet->port;
	if (reading == READ_NEIGHBOUR && bpf_map_lookup_elem(&own_addresses, &packet->target))
		return REDIRECTED_NEIGHBOUR;
	if (bpf_map_lookup_elem(&own_addresses, &packet->destination))
		return reading == READ_ARP ? REDIRECTED_ARP : REDIRECTED_OWN;
	if (!packet->port)
		return PASSED_FOREIGN;
	return bpf_map_lookup_elem(&shared_ports, service) ? REDIRECTED_SHARED : PASSED_FOREIGN;
}

/* A segment that may end a handshake: whether its numbers are a cookie. */
static __always_inline int ends_handshake(struct xdp_md *ctx, const struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = data + (packet->tcp_offset & MAX_TCP_OFFSET);
	struct options options = {};

	if (packet->segment != SEGMENT_PLAIN || (void *)(tcp + 1) > data_end)
		return 0;
	if (tcp->doff < 5 || !read_options(ctx, packet->tcp_offset + TCP_HEADER_LEN, tcp->doff * 4 - TCP_HEADER_LEN, &options))
		return 0;
	return is_cookie(packet, bpf_ntohl(tcp->seq), bpf_ntohl(tcp->ack_seq), &options);
}

/* A segment of no known flow. */
static __always_inline enum verdict judge_stranger(struct xdp_md *ctx, const struct packet *packet, __u64 hash,
						   enum verdict ours)
{
	const __u8 yes = 1;

	if (packet->flags & FLAG_RST)
		return DROPPED_RESET;
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

/* What becomes of a segment that is ours while a listener is guarded. ANSWERED_SYN leaves the action in `action`. */
static __always_inline enum verdict judge(struct xdp_md *ctx, const struct packet *packet, const struct service *service,
					  enum verdict ours, int *action)
{
	const struct listener *listener;
	__u64 hash, *seen;

	if (packet->segment == SEGMENT_NONE)
		return packet->is_icmp || ours == REDIRECTED_ARP ? ours : DROPPED_STRAY;
	if (packet->segment == SEGMENT_PARTIAL)
		return DROPPED_PARTIAL;
	listener = bpf_map_lookup_elem(&listeners, service);
	if (listener && !listener->guarded)
		return ours;
	hash = fingerprint(packet);
	if (is_known(hash))
		return ours;
	if ((packet->flags & (FLAG_SYN | FLAG_ACK | FLAG_RST | FLAG_FIN)) != FLAG_SYN) {
		enum verdict verdict = judge_stranger(ctx, packet, hash, ours);

		return guard.armed == LEARNING ? ours : verdict;
	}
	if (!listener)
		return guard.closed_silent ? DROPPED_CLOSED : ours;
	seen = bpf_map_lookup_elem(&syns, &listener->number);
	if (seen)
		*seen += 1;
	if (packet->segment != SEGMENT_PLAIN)
		return DROPPED_SYN;
	*action = answer_syn(ctx, packet, listener);
	return *action < 0 ? DROPPED_SYN : ANSWERED_SYN;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	struct packet packet = {};
	struct service service = {};
	enum verdict verdict = address(ctx, &packet, &service);
	int action = XDP_DROP;

	if (verdict == PASSED_FOREIGN || verdict == PASSED_MALFORMED) {
		count(verdict);
		return XDP_PASS;
	}
	if (guard.armed != DISARMED) {
		verdict = judge(ctx, &packet, &service, verdict, &action);
		if (verdict == ANSWERED_SYN) {
			count(verdict);
			return action;
		}
		if (verdict > ANSWERED_SYN) {
			count(verdict);
			return XDP_DROP;
		}
	}
	action = bpf_redirect_map(&queues, ctx->rx_queue_index, XDP_DROP);
	count(action == XDP_REDIRECT ? verdict : DROPPED_NO_SOCKET);
	return action;
}
