/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The packet that was in a tunnel: whether it is one, whom it is for, and what it learns of its way (RFC 6040). */
#ifndef XSKIP_INNER_H
#define XSKIP_INNER_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "allowed.h"
#include "outer.h"
#include "tally.h"

#define NOT_ECN_CAPABLE 0
#define ECN_CAPABLE_1 1
#define ECN_CAPABLE_0 2

/* What is to be written into the inner header. */
struct inner {
	__be16 front; /* its first two octets, which have the two bits in them */
	__be16 marked; /* what they become */
};

/*
 * What the inner packet is to say, by RFC 6040 figure 4; more than that table has for two bits would be a drop. The outer header's
 * ECT(1) counts, as it may mean something less than congestion.
 */
static __always_inline int merge_ecn(__u8 inner, __u8 outer)
{
	if (outer == CONGESTED)
		return inner == NOT_ECN_CAPABLE ? -1 : CONGESTED;
	if (outer == ECN_CAPABLE_1 && inner == ECN_CAPABLE_0)
		return ECN_CAPABLE_1;
	return inner;
}

/* Lengths that agree with those outside. A frame of several segments says of all of them together how long it is, inside as well. */
static __always_inline enum verdict check_length(const struct __sk_buff *skb, const struct tunnel *tunnel, __u32 length)
{
	if (length > tunnel->payload)
		return PASSED_MALFORMED;
	return skb->gso_size && length != tunnel->payload ? PASSED_MERGED : UNDECIDED;
}

static __always_inline enum verdict read_inner_ipv4(const struct __sk_buff *skb, const struct view *view,
						    const struct tunnel *tunnel, struct inner *inner)
{
	const struct iphdr *ip = view->start + ETH_HLEN + (tunnel->strip & MAX_STRIP);
	enum verdict verdict;
	__u32 total;
	int ecn;

	if ((void *)(ip + 1) > view->end || ip->version != 4 || ip->ihl * 4 < sizeof(*ip))
		return PASSED_MALFORMED;
	total = bpf_ntohs(ip->tot_len);
	if (total < ip->ihl * 4)
		return PASSED_MALFORMED;
	verdict = check_length(skb, tunnel, total);
	if (verdict != UNDECIDED)
		return verdict;
	if (!(role_of_ipv4(ip->daddr) & ROLE_VIP))
		return PASSED_VIP;
	ecn = merge_ecn(ip->tos & ECN_MASK, tunnel->ecn);
	if (ecn < 0)
		return DROPPED_CONGESTED;
	inner->front = *(const __be16 *)ip;
	inner->marked = (inner->front & ~bpf_htons(ECN_MASK)) | bpf_htons(ecn);
	return UNDECIDED;
}

static __always_inline enum verdict read_inner_ipv6(const struct __sk_buff *skb, const struct view *view,
						    const struct tunnel *tunnel, struct inner *inner)
{
	const struct ipv6hdr *ip = view->start + ETH_HLEN + (tunnel->strip & MAX_STRIP);
	enum verdict verdict;
	int ecn;

	if ((void *)(ip + 1) > view->end || ip->version != 6)
		return PASSED_MALFORMED;
	verdict = check_length(skb, tunnel, sizeof(*ip) + bpf_ntohs(ip->payload_len));
	if (verdict != UNDECIDED)
		return verdict;
	if (!(role_of_ipv6(&ip->daddr) & ROLE_VIP))
		return PASSED_VIP;
	ecn = merge_ecn(((const __u8 *)ip)[1] >> 4 & ECN_MASK, tunnel->ecn);
	if (ecn < 0)
		return DROPPED_CONGESTED;
	inner->front = *(const __be16 *)ip;
	inner->marked = (inner->front & ~bpf_htons(ECN_MASK << 4)) | bpf_htons(ecn << 4);
	return UNDECIDED;
}

/* Writes the two bits. The sum that a NIC has made of the packet follows: in IPv4 the header's own checksum sees to it. */
static __always_inline int mark(struct __sk_buff *skb, const struct tunnel *tunnel, struct inner *inner)
{
	if (inner->marked == inner->front)
		return 0;
	if (tunnel->inner_is_ipv6)
		return bpf_skb_store_bytes(skb, ETH_HLEN, &inner->marked, sizeof(inner->marked), BPF_F_RECOMPUTE_CSUM);
	return bpf_l3_csum_replace(skb, ETH_HLEN + __builtin_offsetof(struct iphdr, check), inner->front, inner->marked,
				   sizeof(inner->marked)) ?:
	       bpf_skb_store_bytes(skb, ETH_HLEN, &inner->marked, sizeof(inner->marked), 0);
}

#endif
