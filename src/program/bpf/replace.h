/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the kernel still has of a client's addresses and ports ends for the handshake that the client has just made on them.
 *
 * A SYN would have ended it, or have been told so; but SYNs are answered by the balancer and never get here. So the segment becomes a
 * RST with the very number that the old socket expects (RFC 5961 section 3.2), and without options, so that no timestamp has a say
 * (RFC 7323 section 5.3); and a copy of the segment, which was sent round before, comes behind it and finds the listener. Whoever sends
 * a good cookie has those addresses and ports, and the old socket's peer has not.
 */
#ifndef XSKIP_REPLACE_H
#define XSKIP_REPLACE_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "handed.h"
#include "kernel.h"
#include "promise.h"
#include "segment.h"
#include "tally.h"

#define TCP_CHECK 16
#define TCP_SEQUENCE 4
#define TCP_OFFSET 12
/* A header without options, and RST alone: the two octets from TCP_OFFSET on. */
#define RST_WITHOUT_OPTIONS 0x5004
/* How often it is tried. A RST may be overtaken where the copy goes to another CPU, or not be heeded (tcp_rfc1337). */
#define MAX_REPLACEMENTS 4

/* Behind the batch that is being received, to this program again. */
static __always_inline int go_round(struct __sk_buff *skb)
{
	tally(REQUEUED);
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* Written over the segment. What is wrong about its checksum stays wrong: the kernel believes no RST then. */
static __always_inline int make_rst(struct __sk_buff *skb, const struct segment *segment, __u32 sequence)
{
	__be32 number = bpf_htonl(sequence);
	__be16 front = bpf_htons(RST_WITHOUT_OPTIONS), before;
	__u32 at = segment->tcp_offset;

	__builtin_memcpy(&before, (const __u8 *)&segment->tcp + TCP_OFFSET, sizeof(before));
	return bpf_l4_csum_replace(skb, at + TCP_CHECK, segment->tcp.seq, number, sizeof(number)) ?:
	       bpf_l4_csum_replace(skb, at + TCP_CHECK, before, front, sizeof(front)) ?:
	       bpf_skb_store_bytes(skb, at + TCP_SEQUENCE, &number, sizeof(number), 0) ?:
	       bpf_skb_store_bytes(skb, at + TCP_OFFSET, &front, sizeof(front), 0);
}

/* Ends a socket that expects this sequence number, if the segment begins another connection than the socket's own. */
static __always_inline int replace(struct __sk_buff *skb, const struct segment *segment, __u32 expected, enum verdict verdict)
{
	struct handed *handed = find_handed(segment);
	struct timestamps timestamps = {};
	__u32 replaced = 0;

	if (handed && is_same(handed, segment)) {
		/* A late segment of the socket's own handshake; or one that is no use to try again. */
		if (!handed->replaced || handed->has_opened || handed->replaced >= MAX_REPLACEMENTS)
			return TC_ACT_UNSPEC;
		replaced = handed->replaced;
	} else if (handed && handed->replaced && comes_behind(handed, segment)) {
		/* TCP has not seen the RST yet. */
		return go_round(skb);
	}
	read_options(skb, segment, &timestamps);
	if (!is_first(segment, &timestamps))
		return TC_ACT_UNSPEC;
	remember(segment, replaced + 1);
	if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS) || make_rst(skb, segment, expected))
		return TC_ACT_SHOT;
	tally(verdict);
	return TC_ACT_UNSPEC;
}

#endif
