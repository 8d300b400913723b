/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* From a frame to whom it is addressed to. Reads no further than that takes, and judges nothing. */
#ifndef XSKIP_PARSE_H
#define XSKIP_PARSE_H

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "address.h"
#include "place.h"

#define MAX_EXTENSION_HEADERS 6

/* Masks that bound the offsets below for the verifier: a tag, and a plain IPv6 header. */
#define MAX_IP_OFFSET 0x1f
#define MAX_QUOTE_OFFSET 0x7f /* behind the longest IPv4 header, and an ICMP error's */
#define MAX_TCP_OFFSET 0x3f

#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset */
#define IPV4_OFFSET 0x1fff   /* of a fragment: 0 for the first */
#define IP_DONT_FRAGMENT 0x4000
#define HARDWARE_ETHERNET 1
#define NEIGHBOUR_SOLICITATION 135

#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_ACK 0x10

/* ICMPv4 (RFC 792); <linux/icmp.h> would draw in half of the C library. */
#define UNREACHABLE 3
#define TIME_EXCEEDED 11
#define PARAMETER_PROBLEM 12

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 field;
};

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_DESTINATION 60
#define IPV6_OFFSET 0xfff8

struct vlan_tag {
	__be16 control;
	__be16 ether_type;
};

/* ARP about Ethernet and IPv4 (RFC 826); <linux/if_arp.h> would draw in half of the C library. */
struct arp_packet {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_ip[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_ip[4];
} __attribute__((packed));

enum reading {
	READ_FOREIGN,   /* neither IP nor ARP */
	READ_MALFORMED, /* too short to tell */
	READ_OTHER_VLAN, /* another link's, though it came by the same wire */
	READ_ARP,       /* `destination` is the address asked for */
	READ_NEIGHBOUR, /* a neighbour solicitation: `target` is the address asked for */
	READ_IP,
};

/* What is to be seen of a TCP segment. */
enum segment {
	SEGMENT_NONE,    /* another protocol, or a fragment */
	SEGMENT_PARTIAL, /* its header is cut off */
	SEGMENT_PLAIN,   /* at `tcp_offset`, with nothing between the IP header and it */
	SEGMENT_BEHIND,  /* behind IP options or extension headers */
};

enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_FIRST, /* `port` and `protocol` are to be seen */
	FRAGMENT_LATER,
};

/* Of IPv6 (RFC 8200 section 4.5). */
struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* Whether a segment ends a handshake whose SYN was answered here. */
enum handshake {
	HANDSHAKE_UNKNOWN,
	HANDSHAKE_ENDS,
	HANDSHAKE_OTHER,
};

/* Whom a frame is addressed to, and what it is. */
struct packet {
	struct address destination;
	struct address target; /* of a neighbour solicitation only */
	__be16 port;     /* TCP or UDP port of the stack's end; 0 where there is none to be seen */
	__u8 protocol; /* whose port it is */
	__u8 flags;  /* TCP's, like the next ones where the segment is not partial */
	__u8 is_ipv6;
	__u8 is_icmp;
	__u8 handshake; /* an enum handshake, where that was looked for */
	enum segment segment;
	enum fragment fragment;
	__u32 fragment_id; /* what the fragments of a packet have in common, beside its ends and an IPv4 packet's protocol */
	__u32 ip_offset;
	__u32 tcp_offset;
	__u32 quote_offset; /* of the IP header in an ICMP error */
	__be32 sequence;
	__u32 ports;        /* both, as they stand in the packet */
	__u32 addresses[8]; /* likewise: the source, then the destination, of one word each for IPv4 */
	__u32 tally; /* by which the flow of a SYN is counted that is answered in a backend's name */
};

/* Where reading has got to. */
struct cursor {
	void *start;
	void *at;
	void *end;
};

static __always_inline void map_ipv4(struct address *address, __be32 ipv4)
{
	/* Both machines that this is built for are little-endian. */
	address->halves[0] = 0;
	address->halves[1] = bpf_htonl(0xffff) | (__u64)ipv4 << 32;
}

static __always_inline void copy_ipv6(struct address *address, const struct in6_addr *ipv6)
{
	/* On the wire a mapped address is nobody's (RFC 4942 section 2.2); here it would be IPv4. It stays ::. */
	if (!ipv6->s6_addr32[0] && !ipv6->s6_addr32[1] && ipv6->s6_addr32[2] == bpf_htonl(0xffff))
		return;
	address->halves[0] = ipv6->s6_addr32[0] | (__u64)ipv6->s6_addr32[1] << 32;
	address->halves[1] = ipv6->s6_addr32[2] | (__u64)ipv6->s6_addr32[3] << 32;
}

/* The TCP header at the cursor, as far as it is there. */
static __always_inline void read_tcp(struct cursor *cursor, struct packet *packet, enum segment segment)
{
	__be16 *ports = cursor->at;
	struct tcphdr *tcp = cursor->at;

	packet->segment = SEGMENT_PARTIAL;
	if ((void *)(ports + 2) > cursor->end)
		return;
	packet->port = ports[1];
	packet->protocol = IPPROTO_TCP;
	if ((void *)(tcp + 1) > cursor->end)
		return;
	packet->ports = *(__u32 *)ports;
	packet->sequence = tcp->seq;
	packet->flags = ((__u8 *)tcp)[13];
	packet->segment = segment;
}

/* The UDP ports at the cursor, if they are there. */
static __always_inline void read_udp(struct cursor *cursor, struct packet *packet)
{
	__be16 *ports = cursor->at;

	packet->protocol = IPPROTO_UDP;
	if ((void *)(ports + 2) > cursor->end)
		return;
	packet->port = ports[1];
	packet->ports = *(__u32 *)ports;
}

/* The port of a first fragment at the cursor, which has room for it: fragments but the last come in units of eight octets. */
static __always_inline void read_first_fragment(struct cursor *cursor, struct packet *packet, __u8 protocol)
{
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return;
	read_udp(cursor, packet);
	packet->protocol = protocol;
}

/* The ports of a quoted packet: an ICMP error is for whoever sent that. */
static __always_inline void read_quoted_ports(void *quote, __be16 *ports, const struct cursor *cursor, struct packet *packet,
					      __u8 protocol)
{
	if ((void *)(ports + 2) > cursor->end)
		return;
	packet->port = ports[0];
	packet->protocol = protocol;
	packet->quote_offset = quote - cursor->start;
}

/* What an ICMP error at the cursor quotes, if it is a plain segment or datagram, or the first piece of one. */
static __always_inline void read_quote_v4(struct cursor *cursor, struct packet *packet)
{
	struct icmp_header *icmp = cursor->at;
	struct iphdr *ip = (void *)(icmp + 1);

	if ((void *)(ip + 1) > cursor->end || ip->ihl != sizeof(*ip) / 4 || ip->frag_off & bpf_htons(IPV4_OFFSET) ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return;
	if (icmp->type == UNREACHABLE || icmp->type == TIME_EXCEEDED || icmp->type == PARAMETER_PROBLEM)
		read_quoted_ports(ip, (void *)(ip + 1), cursor, packet, ip->protocol);
}

static __always_inline void read_quote_v6(struct cursor *cursor, struct packet *packet)
{
	struct icmp6hdr *icmp = cursor->at;
	struct ipv6hdr *ip = (void *)(icmp + 1);

	if ((void *)(ip + 1) > cursor->end || (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP))
		return;
	if (icmp->icmp6_type >= ICMPV6_DEST_UNREACH && icmp->icmp6_type <= ICMPV6_PARAMPROB)
		read_quoted_ports(ip, (void *)(ip + 1), cursor, packet, ip->nexthdr);
}

static __always_inline enum reading read_arp(struct cursor *cursor, struct packet *packet)
{
	struct arp_packet *arp = cursor->at;
	__be32 target, sender;

	if ((void *)(arp + 1) > cursor->end)
		return READ_MALFORMED;
	if (arp->hardware != bpf_htons(HARDWARE_ETHERNET) || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_len != ETH_ALEN || arp->protocol_len != sizeof(target))
		return READ_FOREIGN;
	__builtin_memcpy(&target, arp->target_ip, sizeof(target));
	__builtin_memcpy(&sender, arp->sender_ip, sizeof(sender));
	/* An announcement asks nobody (RFC 5227 section 2.3). Who listens beside the kernel hears it, as all of them. */
	if (sender == target)
		return READ_FOREIGN;
	map_ipv4(&packet->destination, target);
	return READ_ARP;
}

static __always_inline enum reading read_ipv4(struct cursor *cursor, struct packet *packet)
{
	struct iphdr *ip = cursor->at;
	__u32 header_len;

	if ((void *)(ip + 1) > cursor->end)
		return READ_MALFORMED;
	map_ipv4(&packet->destination, ip->daddr);
	packet->addresses[0] = ip->saddr;
	packet->addresses[1] = ip->daddr;
	packet->tcp_offset = packet->ip_offset + sizeof(*ip);
	header_len = ip->ihl * 4;
	if (header_len < sizeof(*ip))
		return READ_IP;
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT)) {
		packet->fragment = ip->frag_off & bpf_htons(IPV4_OFFSET) ? FRAGMENT_LATER : FRAGMENT_FIRST;
		packet->fragment_id = ip->id | ip->protocol << 16;
		cursor->at += header_len;
		if (packet->fragment == FRAGMENT_FIRST)
			read_first_fragment(cursor, packet, ip->protocol);
		else
			packet->protocol = ip->protocol;
		return READ_IP;
	}
	packet->is_icmp = ip->protocol == IPPROTO_ICMP;
	if (ip->protocol == IPPROTO_TCP) {
		cursor->at += header_len;
		read_tcp(cursor, packet, header_len == sizeof(*ip) ? SEGMENT_PLAIN : SEGMENT_BEHIND);
	} else if (ip->protocol == IPPROTO_UDP) {
		cursor->at += header_len;
		read_udp(cursor, packet);
	} else if (packet->is_icmp) {
		cursor->at += header_len;
		read_quote_v4(cursor, packet);
	}
	return READ_IP;
}

/* Moves the cursor behind the extension headers that an end host may skip, and returns what comes then. */
static __always_inline __u8 skip_extensions(struct cursor *cursor, __u8 next)
{
#pragma unroll
	for (int i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		struct ipv6_opt_hdr *extension = cursor->at;

		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_DESTINATION)
			break;
		if ((void *)(extension + 1) > cursor->end)
			return IPPROTO_NONE;
		next = extension->nexthdr;
		cursor->at += (extension->hdrlen + 1) * 8;
	}
	return next;
}

/* The fragment header at the cursor, and what the first fragment has behind it. */
static __always_inline void read_fragment_v6(struct cursor *cursor, struct packet *packet)
{
	struct fragment_header *header = cursor->at;

	if ((void *)(header + 1) > cursor->end)
		return;
	packet->fragment = header->offset & bpf_htons(IPV6_OFFSET) ? FRAGMENT_LATER : FRAGMENT_FIRST;
	packet->fragment_id = header->id;
	cursor->at = header + 1;
	if (packet->fragment == FRAGMENT_FIRST)
		read_first_fragment(cursor, packet, skip_extensions(cursor, header->next));
	else
		packet->protocol = header->next;
}

static __always_inline enum reading read_ipv6(struct cursor *cursor, struct packet *packet)
{
	struct ipv6hdr *ip = cursor->at;
	__u8 next;

	if ((void *)(ip + 1) > cursor->end)
		return READ_MALFORMED;
	copy_ipv6(&packet->destination, &ip->daddr);
	__builtin_memcpy(packet->addresses, &ip->saddr, 32);
	packet->is_ipv6 = 1;
	packet->tcp_offset = packet->ip_offset + sizeof(*ip);
	cursor->at = ip + 1;
	next = skip_extensions(cursor, ip->nexthdr);
	packet->is_icmp = next == IPPROTO_ICMPV6;
	if (next == IPPROTO_TCP) {
		read_tcp(cursor, packet, ip->nexthdr == IPPROTO_TCP ? SEGMENT_PLAIN : SEGMENT_BEHIND);
	} else if (next == IPPROTO_UDP) {
		read_udp(cursor, packet);
	} else if (next == NEXT_FRAGMENT) {
		read_fragment_v6(cursor, packet);
	} else if (next == IPPROTO_ICMPV6) {
		/* A solicitation goes to a multicast group as a rule: what counts is the target, behind the first 8 bytes. */
		struct icmp6hdr *icmp = cursor->at;
		struct in6_addr *target = (void *)(icmp + 1);

		if ((void *)(target + 1) <= cursor->end && icmp->icmp6_type == NEIGHBOUR_SOLICITATION) {
			copy_ipv6(&packet->target, target);
			return READ_NEIGHBOUR;
		}
		read_quote_v6(cursor, packet);
	}
	return READ_IP;
}

static __always_inline enum reading read_packet(struct xdp_md *ctx, struct packet *packet)
{
	struct cursor cursor = {
		.start = (void *)(long)ctx->data,
		.at = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};
	struct ethhdr *ethernet = cursor.at;
	__be16 ether_type;

	if ((void *)(ethernet + 1) > cursor.end)
		return READ_MALFORMED;
	ether_type = ethernet->h_proto;
	cursor.at = ethernet + 1;
	packet->ip_offset = sizeof(*ethernet);
	if (ether_type == bpf_htons(ETH_P_8021Q)) {
		struct vlan_tag *tag = cursor.at;

		if ((void *)(tag + 1) > cursor.end)
			return READ_MALFORMED;
		if (!is_of_our_vlan(tag->control))
			return READ_OTHER_VLAN;
		ether_type = tag->ether_type;
		cursor.at = tag + 1;
		packet->ip_offset += sizeof(*tag);
	} else if (place.vlan) {
		return READ_OTHER_VLAN;
	}
	switch (ether_type) {
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return READ_OTHER_VLAN; /* a provider's, or a second tag: a network of its own (IEEE 802.1ad) */
	case bpf_htons(ETH_P_IP):
		return read_ipv4(&cursor, packet);
	case bpf_htons(ETH_P_IPV6):
		return read_ipv6(&cursor, packet);
	case bpf_htons(ETH_P_ARP):
		return read_arp(&cursor, packet);
	default:
		return READ_FOREIGN;
	}
}

#endif
