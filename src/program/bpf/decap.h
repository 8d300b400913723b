/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Takes what a tunnel has put in front off a packet. */
#ifndef XSKIP_DECAP_H
#define XSKIP_DECAP_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "inner.h"
#include "outer.h"
#include "tally.h"

/* BPF_F_ADJ_ROOM_DECAP_L3_IPV4 and _IPV6, which headers before Linux 6.3 do not have. */
#define INNER_IS_IPV4 (1ULL << 7)
#define INNER_IS_IPV6 (1ULL << 8)

/*
 * What the kernel is told of the octets that go.
 *
 * The segments of a super-frame keep their size. A checksum that was verified stays so behind bare IP, where it can only have been the
 * inner one's, as the kernel's own tunnels have it; behind UDP it may have been UDP's, and the kernel sums up again. Only where one IP
 * becomes the other does it want to know: Linux before 6.3 does not understand that, and is not asked where it need not.
 */
static __always_inline __u64 room_flags(const struct tunnel *tunnel)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if (!tunnel->is_gue)
		flags |= BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	if (tunnel->outer_is_ipv6 != tunnel->inner_is_ipv6)
		flags |= tunnel->inner_is_ipv6 ? INNER_IS_IPV6 : INNER_IS_IPV4;
	return flags;
}

static __always_inline int strip(struct __sk_buff *skb, const struct tunnel *tunnel, struct inner *inner)
{
	__be16 type = tunnel->inner_is_ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);

	if (bpf_skb_adjust_room(skb, -(__s32)tunnel->strip, BPF_ADJ_ROOM_MAC, room_flags(tunnel)))
		return -1;
	/* What skb->protocol says the kernel has changed, and not the Ethernet header. */
	if (tunnel->outer_is_ipv6 != tunnel->inner_is_ipv6 &&
	    bpf_skb_store_bytes(skb, __builtin_offsetof(struct ethhdr, h_proto), &type, sizeof(type), 0))
		return -1;
	/* All flows of a balancer have the outer hash in common. */
	bpf_set_hash_invalid(skb);
	return mark(skb, tunnel, inner);
}

static __always_inline enum verdict read_outer(struct __sk_buff *skb, struct view *view, struct tunnel *tunnel)
{
	/* Read once: clang would add to the context's address, which the verifier refuses. */
	__u32 protocol = skb->protocol;

	/* A tag that is beside the frame stays there. One that is in it is another link's. */
	if (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6))
		return PASSED_PLAIN;
	gather(skb, view);
	if (protocol == bpf_htons(ETH_P_IP))
		return read_outer_ipv4(skb, view, tunnel);
	return read_outer_ipv6(skb, view, tunnel);
}

/* The verdict, which has been carried out unless it is to drop the packet. */
static __always_inline enum verdict decap(struct __sk_buff *skb)
{
	struct tunnel tunnel = {};
	struct inner inner = {};
	enum verdict verdict;
	struct view view;

	verdict = read_outer(skb, &view, &tunnel);
	if (verdict != UNDECIDED)
		return verdict;
	verdict = tunnel.inner_is_ipv6 ? read_inner_ipv6(skb, &view, &tunnel, &inner)
				       : read_inner_ipv4(skb, &view, &tunnel, &inner);
	if (verdict != UNDECIDED)
		return verdict;
	if (strip(skb, &tunnel, &inner))
		return DROPPED_REFUSED;
	return (tunnel.is_gue ? TAKEN_GUE : 0) + (tunnel.outer_is_ipv6 ? TAKEN_OUTER_IPV6 : 0) +
	       (tunnel.inner_is_ipv6 ? TAKEN_INNER_IPV6 : 0);
}

#endif
