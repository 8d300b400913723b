/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Segments of no known flow: which of them may be the end of a handshake. */
#ifndef XSKIP_STRANGERS_H
#define XSKIP_STRANGERS_H

#include <linux/bpf.h>
#include <linux/tcp.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "answer.h"
#include "guard.h"
#include "maps.h"
#include "parse.h"

/*
 * A segment that may end a handshake: whether its numbers are a cookie. A function of its own, like `walk_options`: it is asked for
 * in two places.
 */
__attribute__((noinline)) int ends_handshake(struct xdp_md *ctx, const struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct options options = {};
	struct tcphdr *tcp;

	if (!packet)
		return 0;
	tcp = data + (packet->tcp_offset & MAX_TCP_OFFSET);
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

#endif
