/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The headers that a tunnel has put in front: IP (RFC 2003, RFC 4213, RFC 2473), or IP, UDP and GUE of variant 1. */
#ifndef XSKIP_OUTER_H
#define XSKIP_OUTER_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "allowed.h"
#include "checksum.h"
#include "tally.h"

#define GUE_PORT 6080 /* IANA's */

#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset */
#define IPV4_OFFSET 0x1fff   /* of a fragment: 0 for the first */
#define IPV6_OFFSET 0xfff8
#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_DESTINATION 60
#define MAX_EXTENSION_HEADERS 6

#define ECN_MASK 3
#define CONGESTED 3 /* CE (RFC 3168) */

/* What has to be in one piece: IPv4 with all of its options, UDP and IPv6. */
#define READ_LEN (ETH_HLEN + 60 + 8 + 40)

/* Offsets below are masked with this for the verifier: the longest headers that are taken off have 48 octets. */
#define MAX_STRIP 0x3f

/* The octets of a packet as far as they may be read in place. */
struct view {
	void *start;
	void *end;
};

/* What the outer headers say. */
struct tunnel {
	__u32 strip;   /* octets to take off */
	__u32 payload; /* octets behind them, as the outer headers count them: the frame may be padded */
	__u8 is_gue;
	__u8 outer_is_ipv6;
	__u8 inner_is_ipv6;
	__u8 ecn;
};

static __always_inline void look(struct __sk_buff *skb, struct view *view)
{
	view->start = (void *)(long)skb->data;
	view->end = (void *)(long)skb->data_end;
}

/* Has the front of the packet in one piece, or all of it. Drivers keep headers so; what is spread out costs a copy. */
static __always_inline void gather(struct __sk_buff *skb, struct view *view)
{
	__u32 length = skb->len < READ_LEN ? skb->len : READ_LEN;

	look(skb, view);
	if (view->start + length > view->end) {
		bpf_skb_pull_data(skb, length);
		look(skb, view);
	}
}

static __always_inline int is_ip_in_ip(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6;
}

/* The UDP header, if it is that of GUE. */
static __always_inline const struct udphdr *as_gue(const void *at, const struct view *view)
{
	const struct udphdr *udp = at;

	return (void *)(udp + 1) <= view->end && udp->dest == bpf_htons(GUE_PORT) ? udp : 0;
}

/*
 * The lengths of UDP, and which variant of GUE is in it: the first two bits, of which 01 is how a bare IP header begins. UDP's
 * checksum is not looked at: it may be 0 with either IP (RFC 6935), and what is inside has its own.
 */
static __always_inline enum verdict read_gue(const struct udphdr *udp, const struct view *view, struct tunnel *tunnel)
{
	const __u8 *first = (const __u8 *)(udp + 1);
	__u32 length = bpf_ntohs(udp->len);

	if (length <= sizeof(*udp) || length > tunnel->payload || (void *)(first + 1) > view->end)
		return PASSED_MALFORMED;
	if (*first >> 6 != 1)
		return PASSED_VARIANT;
	tunnel->strip += sizeof(*udp);
	tunnel->payload = length - sizeof(*udp);
	tunnel->is_gue = 1;
	tunnel->inner_is_ipv6 = *first >> 4 == 6;
	return UNDECIDED;
}

/* A header without options. */
static __always_inline int is_checksum_right(const struct iphdr *ip)
{
	const __u32 *words = (const __u32 *)ip;
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < 5; i++)
		sum += words[i];
	return !fold(sum);
}

static __always_inline enum verdict read_outer_ipv4(struct __sk_buff *skb, const struct view *view, struct tunnel *tunnel)
{
	const struct iphdr *ip = view->start + ETH_HLEN;
	const struct udphdr *udp = 0;
	__u32 header_len, total;

	if ((void *)(ip + 1) > view->end)
		return PASSED_PLAIN;
	header_len = ip->ihl * 4;
	if (ip->protocol == IPPROTO_UDP && !(ip->frag_off & bpf_htons(IPV4_OFFSET)))
		udp = as_gue((void *)ip + header_len, view);
	if (!udp && !is_ip_in_ip(ip->protocol))
		return PASSED_PLAIN;
	if (!(role_of_ipv4(ip->daddr) & ROLE_TUNNEL_END))
		return PASSED_ADDRESS;
	if (!is_allowed_ipv4(ip->saddr))
		return PASSED_SENDER;
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT))
		return PASSED_FRAGMENT;
	if (header_len > sizeof(*ip))
		return PASSED_OPTIONS;
	total = bpf_ntohs(ip->tot_len);
	/* The kernel looks at these when it gets the packet, but of this header it sees nothing. */
	if (ip->version != 4 || header_len < sizeof(*ip) || total <= sizeof(*ip) || total > skb->len - ETH_HLEN ||
	    !is_checksum_right(ip))
		return PASSED_MALFORMED;
	tunnel->ecn = ip->tos & ECN_MASK;
	tunnel->strip = sizeof(*ip);
	tunnel->payload = total - sizeof(*ip);
	tunnel->inner_is_ipv6 = ip->protocol == IPPROTO_IPV6;
	return udp ? read_gue(udp, view, tunnel) : UNDECIDED;
}

/* Whether a tunnel's header comes behind extension headers: then it says which verdict they are worth. They are rare. */
static __always_inline enum verdict read_extensions(struct __sk_buff *skb, __u8 next)
{
	struct { __u8 next, len; __be16 field; } header;
	__u32 offset = ETH_HLEN + sizeof(struct ipv6hdr);
	enum verdict verdict = PASSED_OPTIONS;

#pragma unroll
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_DESTINATION && next != NEXT_FRAGMENT)
			break;
		if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
			return PASSED_PLAIN;
		if (next == NEXT_FRAGMENT) {
			verdict = PASSED_FRAGMENT;
			/* Of a later fragment, more than what it is a part of cannot be seen. */
			if (header.field & bpf_htons(IPV6_OFFSET))
				return is_ip_in_ip(header.next) ? verdict : PASSED_PLAIN;
			header.len = 0;
		}
		next = header.next;
		offset += (header.len + 1) * 8;
	}
	if (is_ip_in_ip(next))
		return verdict;
	/* The ports are as long as what was read of an extension. */
	if (next != IPPROTO_UDP || bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
		return PASSED_PLAIN;
	return header.field == bpf_htons(GUE_PORT) ? verdict : PASSED_PLAIN;
}

static __always_inline enum verdict read_outer_ipv6(struct __sk_buff *skb, const struct view *view, struct tunnel *tunnel)
{
	const struct ipv6hdr *ip = view->start + ETH_HLEN;
	const struct udphdr *udp = 0;
	enum verdict behind = UNDECIDED;

	if ((void *)(ip + 1) > view->end)
		return PASSED_PLAIN;
	if (ip->nexthdr == IPPROTO_UDP)
		udp = as_gue(ip + 1, view);
	else if (ip->nexthdr != IPPROTO_TCP && !is_ip_in_ip(ip->nexthdr))
		behind = read_extensions(skb, ip->nexthdr);
	if (behind == PASSED_PLAIN || (behind == UNDECIDED && !udp && !is_ip_in_ip(ip->nexthdr)))
		return PASSED_PLAIN;
	if (!(role_of_ipv6(&ip->daddr) & ROLE_TUNNEL_END))
		return PASSED_ADDRESS;
	if (!is_allowed_ipv6(&ip->saddr))
		return PASSED_SENDER;
	if (behind != UNDECIDED)
		return behind;
	tunnel->outer_is_ipv6 = 1;
	tunnel->ecn = ((const __u8 *)ip)[1] >> 4 & ECN_MASK;
	tunnel->strip = sizeof(*ip);
	tunnel->payload = bpf_ntohs(ip->payload_len);
	tunnel->inner_is_ipv6 = ip->nexthdr == IPPROTO_IPV6;
	if (ip->version != 6 || !tunnel->payload || tunnel->payload > skb->len - ETH_HLEN - sizeof(*ip))
		return PASSED_MALFORMED;
	return udp ? read_gue(udp, view, tunnel) : UNDECIDED;
}

#endif
