/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Gives packets other ends, in place: src/core/lb/nat/rewrite.rs does the same. */
#ifndef XSKIP_REWRITE_H
#define XSKIP_REWRITE_H

#include "checksum.h"
#include "parse.h"

#define MAX_TRANSPORT_OFFSET 0x7f /* a tag, and the longest IPv4 header */
#define UDP_CHECKSUM 6
#define TCP_CHECKSUM 16
#define TCP_HEADER 20
#define UDP_HEADER 8

/* What ends a packet is to have. One that an ICMP error quotes went the other way, so it gets them the other way round. */
struct nat_pair {
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 end; /* of the IP packet, in the frame */
};

/* Where something was written, and by how much a sum of words has grown by that (RFC 1624 equation 3). */
static __always_inline __u64 replace(__u32 *word, __u32 with)
{
	__u64 difference = (__u64)(__u32)~*word + with;

	*word = with;
	return difference;
}

static __always_inline __u64 replace_ipv6(__u32 *words, const struct address *with)
{
	return replace(words, with->words[0]) + replace(words + 1, with->words[1]) + replace(words + 2, with->words[2]) +
	       replace(words + 3, with->words[3]);
}

/* Makes up for a difference in a checksum, and returns the one that this makes in whatever sums it up as well. */
static __always_inline __u64 amend(__u16 *checksum, __u64 difference)
{
	__u16 before = ~*checksum;

	*checksum = fold(before + difference);
	return (__u64)before + *checksum;
}

/* Likewise for UDP, where 0 stands for none (RFC 768). */
static __always_inline __u64 amend_udp(__u16 *checksum, __u64 difference)
{
	__u16 before = ~*checksum;

	if (!*checksum)
		return 0;
	*checksum = fold(before + difference);
	if (!*checksum)
		*checksum = 0xffff;
	return (__u64)before + *checksum;
}

/* The transport header of a packet behind an IP header of its own protocol; 0 where something else is between, or it is cut off. */
static __always_inline __u32 transport_of(struct xdp_md *ctx, const struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *header = data + (packet->ip_offset & MAX_IP_OFFSET);
	__u32 at = packet->ip_offset + sizeof(struct ipv6hdr);

	if (packet->is_ipv6) {
		struct ipv6hdr *ip = header;

		if ((void *)(ip + 1) > data_end || ip->nexthdr != packet->protocol)
			return 0;
	} else {
		struct iphdr *ip = header;

		if ((void *)(ip + 1) > data_end)
			return 0;
		at = packet->ip_offset + ip->ihl * 4;
	}
	header = data + (at & MAX_TRANSPORT_OFFSET);
	if (header + (packet->protocol == IPPROTO_UDP ? UDP_HEADER : TCP_HEADER) > data_end)
		return 0;
	return at;
}

/* Gives a segment or datagram other ends; 0 where it cannot be. */
__attribute__((noinline)) int rewrite_packet(struct xdp_md *ctx, const struct packet *packet, const struct nat_pair *ends)
{
	void *data, *data_end, *header, *transport;
	__u64 difference;
	__u32 at;

	if (!packet || !ends)
		return 0;
	at = transport_of(ctx, packet);
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	header = data + (packet->ip_offset & MAX_IP_OFFSET);
	transport = data + (at & MAX_TRANSPORT_OFFSET);
	if (!at || transport + UDP_HEADER > data_end)
		return 0;
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = header;

		if ((void *)(ip + 1) > data_end)
			return 0;
		difference = replace_ipv6(ip->saddr.s6_addr32, &ends->source);
		difference += replace_ipv6(ip->daddr.s6_addr32, &ends->destination);
	} else {
		struct iphdr *ip = header;

		if ((void *)(ip + 1) > data_end)
			return 0;
		difference = replace(&ip->saddr, ends->source.words[3]);
		difference += replace(&ip->daddr, ends->destination.words[3]);
		amend(&ip->check, difference);
	}
	difference += replace(transport, ends->source_port | (__u32)ends->destination_port << 16);
	if (packet->protocol == IPPROTO_UDP) {
		amend_udp(transport + UDP_CHECKSUM, difference);
	} else {
		if (transport + TCP_HEADER > data_end)
			return 0;
		amend(transport + TCP_CHECKSUM, difference);
	}
	return 1;
}

/* Gives what an ICMP error quotes its ends, and returns the difference in the error's checksum. */
static __always_inline __u64 rewrite_quote(void *quote, const void *data_end, const void *packet_end, const struct packet *packet,
					   const struct nat_pair *ends)
{
	__u32 *ports = quote + (packet->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u16 *checksum = (void *)ports + (packet->protocol == IPPROTO_UDP ? UDP_CHECKSUM : TCP_CHECKSUM);
	__u64 difference, all = 0;

	if ((void *)(ports + 1) > data_end)
		return 0;
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = quote;

		difference = replace_ipv6(ip->saddr.s6_addr32, &ends->destination);
		difference += replace_ipv6(ip->daddr.s6_addr32, &ends->source);
	} else {
		struct iphdr *ip = quote;

		difference = replace(&ip->saddr, ends->destination.words[3]);
		difference += replace(&ip->daddr, ends->source.words[3]);
		all = amend(&ip->check, difference);
	}
	difference += replace(ports, ends->destination_port | (__u32)ends->source_port << 16);
	all += difference;
	if ((void *)(checksum + 1) > data_end || (void *)(checksum + 1) > packet_end)
		return all;
	return all + (packet->protocol == IPPROTO_UDP ? amend_udp(checksum, difference) : amend(checksum, difference));
}

/* Gives an ICMP error, and what it quotes, other ends; 0 where it cannot be. */
__attribute__((noinline)) int rewrite_error(struct xdp_md *ctx, const struct packet *packet, const struct nat_pair *ends)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *header, *quote, *packet_end;
	struct icmp_header *icmp;
	__u64 outer, inner;

	if (!packet || !ends)
		return 0;
	header = data + (packet->ip_offset & MAX_IP_OFFSET);
	icmp = data + ((packet->quote_offset - sizeof(*icmp)) & MAX_QUOTE_OFFSET);
	quote = data + (packet->quote_offset & MAX_QUOTE_OFFSET);
	packet_end = data + (ends->end & 0xffff);
	if (header + sizeof(struct ipv6hdr) > data_end || (void *)(icmp + 1) > data_end ||
	    quote + (packet->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) > data_end)
		return 0;
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = header;

		outer = replace_ipv6(ip->saddr.s6_addr32, &ends->source);
		outer += replace_ipv6(ip->daddr.s6_addr32, &ends->destination);
	} else {
		struct iphdr *ip = header;

		outer = replace(&ip->saddr, ends->source.words[3]);
		outer += replace(&ip->daddr, ends->destination.words[3]);
		amend(&ip->check, outer);
	}
	inner = rewrite_quote(quote, data_end, packet_end, packet, ends);
	amend(&icmp->checksum, inner + (packet->is_ipv6 ? outer : 0));
	return 1;
}

static __always_inline int rewrite(struct xdp_md *ctx, const struct packet *packet, const struct nat_pair *ends)
{
	return packet->is_icmp ? rewrite_error(ctx, packet, ends) : rewrite_packet(ctx, packet, ends);
}

#endif
