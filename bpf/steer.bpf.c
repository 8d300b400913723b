/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Steers a NIC queue's traffic: what is addressed to the stack goes to the queue's AF_XDP socket, everything else to the
 * kernel, untouched.
 */
#include "parse.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

static __always_inline enum verdict decide(struct xdp_md *ctx)
{
	struct packet packet = {};
	struct service service = {};
	enum reading reading = read_packet(ctx, &packet);

	if (reading == READ_MALFORMED)
		return PASSED_MALFORMED;
	if (reading == READ_FOREIGN)
		return PASSED_FOREIGN;
	if (reading == READ_NEIGHBOUR && bpf_map_lookup_elem(&own_addresses, &packet.target))
		return REDIRECTED_NEIGHBOUR;
	if (bpf_map_lookup_elem(&own_addresses, &packet.destination))
		return reading == READ_ARP ? REDIRECTED_ARP : REDIRECTED_OWN;
	if (!packet.port)
		return PASSED_FOREIGN;
	service.address = packet.destination;
	service.port = packet.port;
	return bpf_map_lookup_elem(&shared_ports, &service) ? REDIRECTED_SHARED : PASSED_FOREIGN;
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
	enum verdict verdict = decide(ctx);
	int action;

	if (verdict == PASSED_FOREIGN || verdict == PASSED_MALFORMED) {
		count(verdict);
		return XDP_PASS;
	}
	action = bpf_redirect_map(&queues, ctx->rx_queue_index, XDP_DROP);
	count(action == XDP_REDIRECT ? verdict : DROPPED_NO_SOCKET);
	return action;
}
