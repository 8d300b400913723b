/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Sends a packet on its way to a backend: as it is, or in another one. src/core/lb/forward.rs does the same. */
#ifndef XSKIP_CARRY_H
#define XSKIP_CARRY_H

#include <linux/udp.h>

#include "checksum.h"
#include "guard.h"
#include "outcomes.h"
#include "parse.h"
#include "reply.h"
#include "rows.h"

#define GUE_PORT 6080
/* Source ports are of the dynamic range (RFC 6335 section 6), by the flow: what lies between spreads flows by them. */
#define FIRST_DYNAMIC_PORT 0xc000
#define DYNAMIC_PORTS 0x3fff
#define TUNNEL_HOP_LIMIT 64
#define ETHERNET_LEN 14
#define IPV4_IN_IP 4
#define IPV6_IN_IP 41

/* An IPv4 address that stands mapped into an IPv6 one. */
static __always_inline int is_mapped(const struct address *address)
{
	return !address->halves[0] && address->words[2] == bpf_htonl(0xffff);
}

/* What an inner packet leaves to its outer header. */
struct inner {
	__u16 length;
	__u8 traffic_class;
	__u8 is_ipv6;
};

/* How much a packet grows on its way. */
static __always_inline __u32 overhead(const struct backend *backend, __u32 mode)
{
	if (mode == MODE_DSR)
		return 0;
	return (is_mapped(&backend->address) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) +
	       (mode == MODE_GUE ? sizeof(struct udphdr) : 0);
}

/*
 * Reads what the outer header needs to know of the inner one, and lets that be one hop older (RFC 2003 section 3.1). An outcome
 * where the packet goes no further, -1 where it does.
 */
static __always_inline int pass_on(struct xdp_md *ctx, const struct packet *packet, struct inner *inner)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *header = data + (packet->ip_offset & MAX_IP_OFFSET);

	inner->is_ipv6 = packet->is_ipv6;
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = header;

		if ((void *)(ip + 1) > data_end || ip->version != 6)
			return HINDERED_MALFORMED;
		inner->length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		inner->traffic_class = bpf_ntohs(*(__be16 *)ip) >> 4;
		if (bpf_ntohs(ip->payload_len) + sizeof(*ip) > (__u64)(data_end - header))
			return HINDERED_MALFORMED;
		if (ip->hop_limit <= 1)
			return HINDERED_HOP_LIMIT;
		ip->hop_limit--;
	} else {
		struct iphdr *ip = header;
		__u32 sum;

		if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl < 5)
			return HINDERED_MALFORMED;
		inner->length = bpf_ntohs(ip->tot_len);
		inner->traffic_class = ip->tos;
		if (inner->length < ip->ihl * 4 || inner->length > (__u64)(data_end - header))
			return HINDERED_MALFORMED;
		if (ip->ttl <= 1)
			return HINDERED_HOP_LIMIT;
		ip->ttl--;
		/* One from the upper octet of its word, so one more in the sum (RFC 1624 equation 3). */
		sum = (__u32)ip->check + bpf_htons(0x0100);
		ip->check = sum + (sum >= 0xffff);
	}
	return -1;
}

/* A plain header, of a packet that nobody may fragment: so its identification is of no use (RFC 6864). */
static __always_inline void write_plain_ipv4(struct iphdr *ip, __u8 traffic_class, __u32 length, __u8 protocol, __be32 source,
					     __be32 destination)
{
	const __u32 *words = (const void *)ip;

	*(__be16 *)ip = bpf_htons(0x4500 | traffic_class);
	ip->tot_len = bpf_htons(length);
	ip->id = 0;
	ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
	ip->ttl = TUNNEL_HOP_LIMIT;
	ip->protocol = protocol;
	ip->check = 0;
	ip->saddr = source;
	ip->daddr = destination;
	ip->check = fold((__u64)words[0] + words[1] + words[2] + words[3] + words[4]);
}

static __always_inline void write_outer_ipv6(struct ipv6hdr *ip, const struct backend *backend, const struct inner *inner, __u32 length,
					     __u8 protocol, __u64 hash)
{
	/* The flow label is the flow's, so that what lies between may spread by it (RFC 6438). */
	*(__be32 *)ip = bpf_htonl(0x60000000 | (__u32)inner->traffic_class << 20 | (hash & 0xfffff));
	ip->payload_len = bpf_htons(length - sizeof(*ip));
	ip->nexthdr = protocol;
	ip->hop_limit = TUNNEL_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, &backend->source, 16);
	__builtin_memcpy(&ip->daddr, &backend->address, 16);
}

/* A checksum of 0 is none; in IPv6 that is for tunnels (RFC 6935), whose inner packets have their own. */
static __always_inline void write_udp(struct udphdr *udp, __u64 hash, __u32 length)
{
	udp->source = bpf_htons(FIRST_DYNAMIC_PORT | (hash & DYNAMIC_PORTS));
	udp->dest = bpf_htons(GUE_PORT);
	udp->len = bpf_htons(length);
	udp->check = 0;
}

/* Puts a packet into another one. The Ethernet header, with its tag, moves to the front of that; 0 where there is no room. */
static __always_inline int encapsulate(struct xdp_md *ctx, const struct packet *packet, const struct backend *backend,
				       const struct inner *inner, __u32 mode, __u64 hash)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	int is_over_ipv4 = is_mapped(&backend->address), is_tagged = packet->ip_offset > ETHERNET_LEN;
	__u32 more = overhead(backend, mode), length = inner->length + more;
	__u8 protocol = inner->is_ipv6 ? IPV6_IN_IP : IPV4_IN_IP;
	struct vlan_tag tag = {};
	struct ethhdr *ethernet;
	__be16 ether_type = is_over_ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	void *outer;

	if (is_tagged) {
		struct vlan_tag *old = data + sizeof(*ethernet);

		if ((void *)(old + 1) > data_end)
			return 0;
		tag = *old;
	}
	if (bpf_xdp_adjust_head(ctx, -(int)more))
		return 0;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	ethernet = data;
	outer = data + sizeof(*ethernet) + (is_tagged ? sizeof(tag) : 0);
	if (outer + sizeof(struct ipv6hdr) + sizeof(struct udphdr) > data_end)
		return 0; /* there is an inner packet behind any outer header, so there is as much at least */
	if (is_tagged) {
		struct vlan_tag *moved = data + sizeof(*ethernet);

		ethernet->h_proto = bpf_htons(ETH_P_8021Q);
		moved->control = tag.control;
		moved->ether_type = ether_type;
	} else {
		ethernet->h_proto = ether_type;
	}
	if (mode == MODE_GUE) {
		void *udp = outer + (is_over_ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));

		protocol = IPPROTO_UDP;
		write_udp(udp, hash, inner->length + sizeof(struct udphdr));
	}
	if (is_over_ipv4)
		write_plain_ipv4(outer, inner->traffic_class, length, protocol, backend->source.words[3], backend->address.words[3]);
	else
		write_outer_ipv6(outer, backend, inner, length, protocol, hash);
	return 1;
}

/* Out of an interface: an action, or -1 where frames sent from here arrive nowhere. */
static __always_inline int send_to(const struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex != ctx->ingress_ifindex)
		return bpf_redirect(ifindex, 0);
	return guard.way_out == NO_WAY ? -1 : send_back(ctx, guard.way_out == BY_REDIRECT);
}

static __always_inline void address_frame(struct ethhdr *ethernet, const struct backend *backend)
{
	__u32 *head = (void *)ethernet;

	head[0] = backend->next_hop[0] | backend->next_hop[1] << 16;
	head[1] = backend->next_hop[2] | backend->ours[0] << 16;
	head[2] = backend->ours[1] | backend->ours[2] << 16;
}

#endif
