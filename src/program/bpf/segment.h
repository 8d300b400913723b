/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* A client's TCP segment for a virtual address, as far as a hand-over has to know it. */
#ifndef XSKIP_SEGMENT_H
#define XSKIP_SEGMENT_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "allowed.h"
#include "outer.h"

#define TCP_HEADER_LEN 20
#define MAX_OPTIONS 40
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_TIMESTAMPS 8
#define TIMESTAMPS_LEN 10
#define MAX_POSITION 0x3f

/* Source and destination as a packet has them: address behind address, IPv4 in the first two words; then the ports. */
struct flow {
	__u32 addresses[8];
	__u32 ports;
	__u32 is_ipv6;
};

struct segment {
	struct flow flow;
	union {
		struct iphdr ipv4;
		struct ipv6hdr ipv6;
	};
	struct tcphdr tcp;
	__u32 tcp_offset;
	__u32 sequence;
	__u32 acknowledged;
};

/* What its option of RFC 7323 says. */
struct timestamps {
	__u32 are_there;
	__u32 value;
	__u32 echo;
};

static __always_inline int read_ipv4(struct __sk_buff *skb, struct segment *segment)
{
	struct iphdr *ip = &segment->ipv4;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)) || ip->protocol != IPPROTO_TCP || ip->version != 4 || ip->ihl < 5 ||
	    ip->frag_off & bpf_htons(IPV4_FRAGMENT) || !(role_of_ipv4(ip->daddr) & ROLE_VIP))
		return 0;
	segment->flow.addresses[0] = ip->saddr;
	segment->flow.addresses[1] = ip->daddr;
	segment->tcp_offset = ETH_HLEN + ip->ihl * 4;
	return 1;
}

/* What has extension headers in front is left to the kernel: TCP's clients send none. */
static __always_inline int read_ipv6(struct __sk_buff *skb, struct segment *segment)
{
	struct ipv6hdr *ip = &segment->ipv6;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, ip, sizeof(*ip)) || ip->nexthdr != IPPROTO_TCP || ip->version != 6 ||
	    !(role_of_ipv6(&ip->daddr) & ROLE_VIP))
		return 0;
	__builtin_memcpy(segment->flow.addresses, &ip->saddr, 16);
	__builtin_memcpy(segment->flow.addresses + 4, &ip->daddr, 16);
	segment->flow.is_ipv6 = 1;
	segment->tcp_offset = ETH_HLEN + sizeof(*ip);
	return 1;
}

/* Whether it is one, and may be the end of a handshake: it has an ACK, and neither SYN nor RST. */
static __always_inline int read_segment(struct __sk_buff *skb, struct segment *segment)
{
	__u32 protocol = skb->protocol;

	if (!(protocol == bpf_htons(ETH_P_IP) && read_ipv4(skb, segment)) &&
	    !(protocol == bpf_htons(ETH_P_IPV6) && read_ipv6(skb, segment)))
		return 0;
	if (bpf_skb_load_bytes(skb, segment->tcp_offset, &segment->tcp, sizeof(segment->tcp)))
		return 0;
	if (!segment->tcp.ack || segment->tcp.syn || segment->tcp.rst || segment->tcp.doff < 5)
		return 0;
	segment->flow.ports = segment->tcp.source | (__u32)segment->tcp.dest << 16;
	segment->sequence = bpf_ntohl(segment->tcp.seq);
	segment->acknowledged = bpf_ntohl(segment->tcp.ack_seq);
	return 1;
}

/* An option list with zeros behind it, which end it, and how far it has been read. */
struct walk {
	__u8 octets[MAX_POSITION + 1 + TIMESTAMPS_LEN];
	__u64 at;
	struct timestamps found;
};

/* Reads one option. Whether that was the last one. */
static long read_option(__u32 number, struct walk *walk)
{
	__u64 at = walk->at;
	__u8 kind, length;

	(void)number;
	/* The verifier wants to see a bound, and the compiler leaves out what it knows to be so. */
	asm volatile("%0 &= %1" : "+r"(at) : "i"(MAX_POSITION));
	if (at >= MAX_OPTIONS)
		return 1;
	kind = walk->octets[at];
	length = walk->octets[at + 1];
	if (kind == OPTION_NOP) {
		walk->at = at + 1;
		return 0;
	}
	if (kind == OPTION_END || length < 2)
		return 1;
	if (kind == OPTION_TIMESTAMPS && length == TIMESTAMPS_LEN) {
		__builtin_memcpy(&walk->found.value, walk->octets + at + 2, 4);
		__builtin_memcpy(&walk->found.echo, walk->octets + at + 6, 4);
		walk->found.are_there = 1;
		return 1;
	}
	walk->at = at + length;
	return 0;
}

/*
 * The timestamps among the options from an offset on, if there are any that are whole. Neither inlined nor static: so it does not add to
 * the caller's stack, and the verifier walks it once.
 */
__attribute__((noinline)) int read_timestamps(struct __sk_buff *skb, __u32 offset, __u32 length, struct timestamps *timestamps)
{
	struct walk walk = {};
	__u64 size = length;

	if (!timestamps)
		return 0;
	__builtin_memset(timestamps, 0, sizeof(*timestamps));
	if (size > MAX_OPTIONS)
		return 0;
	/* Two bounds, each of which the verifier is to see. */
	asm volatile("" : "+r"(size));
	if (!size || bpf_skb_load_bytes(skb, offset, walk.octets, size))
		return 0;
	bpf_loop(MAX_OPTIONS, read_option, &walk, 0);
	timestamps->are_there = walk.found.are_there;
	timestamps->value = bpf_ntohl(walk.found.value);
	timestamps->echo = bpf_ntohl(walk.found.echo);
	return 1;
}

static __always_inline void read_options(struct __sk_buff *skb, const struct segment *segment, struct timestamps *timestamps)
{
	read_timestamps(skb, segment->tcp_offset + TCP_HEADER_LEN, segment->tcp.doff * 4 - TCP_HEADER_LEN, timestamps);
}

#endif
