/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What becomes of the stack's frames while a balancer's program has outlived its process: no socket takes them, and packets for
 * backends go on. Who asks for an address of ours is answered here, or clients and routers would forget where it is.
 */
#ifndef XSKIP_ORPHAN_H
#define XSKIP_ORPHAN_H

#include "checksum.h"
#include "guard.h"
#include "maps.h"
#include "parse.h"
#include "reply.h"
#include "rows.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define NEIGHBOUR_ADVERTISEMENT 136
#define SOLICITED_OVERRIDE 0x60000000
#define OPTION_SOURCE 1 /* whose link address it is (RFC 4861 section 4.6.1): the sender's, */
#define OPTION_TARGET 2 /* or the target's */

/* A neighbour solicitation behind its IPv6 header, and then an advertisement; and the one option that comes with them. */
struct neighbour {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct in6_addr target;
};

struct link_option {
	__u8 type;
	__u8 length;
	__u8 mac[ETH_ALEN];
};

static __always_inline void write_our_mac(__u8 *mac)
{
	__u32 head = guard.mac_head;
	__u16 tail = guard.mac_tail;

	__builtin_memcpy(mac, &head, sizeof(head));
	__builtin_memcpy(mac + sizeof(head), &tail, sizeof(tail));
}

static __always_inline int answer_arp(struct xdp_md *ctx, const struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct arp_packet *arp = data + (packet->ip_offset & MAX_IP_OFFSET);
	struct ethhdr *ethernet = data;
	__u8 target[4];

	if ((void *)(ethernet + 1) > data_end || (void *)(arp + 1) > data_end || arp->operation != bpf_htons(ARP_REQUEST))
		return XDP_DROP;
	__builtin_memcpy(target, arp->target_ip, sizeof(target));
	__builtin_memcpy(arp->target_ip, arp->sender_ip, sizeof(target));
	__builtin_memcpy(arp->sender_ip, target, sizeof(target));
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	write_our_mac(arp->sender_mac);
	arp->operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	write_our_mac(ethernet->h_source);
	return send_back(ctx, guard.way_out == BY_REDIRECT);
}

/* Whoever looks whether an address is free asks from none (RFC 4862 section 5.4.2), and waits for the stack's answer. */
static __always_inline int answer_solicitation(struct xdp_md *ctx, const struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip = data + (packet->ip_offset & MAX_IP_OFFSET);
	struct neighbour *message = (void *)(ip + 1);
	struct link_option *option = (void *)(message + 1);
	struct ethhdr *ethernet = data;
	const __u32 *words;
	__u64 sum;

	/* One with more in it than its sender's link address, or with less, is not what neighbours send. */
	if ((void *)(ethernet + 1) > data_end || (void *)(option + 1) > data_end || ip->nexthdr != IPPROTO_ICMPV6 ||
	    ip->hop_limit != 255 || ip->payload_len != bpf_htons(sizeof(*message) + sizeof(*option)) ||
	    option->type != OPTION_SOURCE || option->length != 1 || !(packet->addresses[0] | packet->addresses[3]))
		return XDP_DROP;
	__builtin_memcpy(&ip->daddr, &ip->saddr, sizeof(ip->daddr));
	__builtin_memcpy(&ip->saddr, &message->target, sizeof(ip->saddr));
	message->type = NEIGHBOUR_ADVERTISEMENT;
	message->checksum = 0;
	message->flags = bpf_htonl(SOLICITED_OVERRIDE);
	option->type = OPTION_TARGET;
	write_our_mac(option->mac);
	words = (const void *)&ip->saddr;
	sum = ip->payload_len + bpf_htons(IPPROTO_ICMPV6);
	/* Both addresses, the message and its option lie behind each other. */
#pragma unroll
	for (__u32 i = 0; i < (2 * sizeof(ip->saddr) + sizeof(*message) + sizeof(*option)) / sizeof(*words); i++)
		sum += words[i];
	message->checksum = fold(sum);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	write_our_mac(ethernet->h_source);
	return send_back(ctx, guard.way_out == BY_REDIRECT);
}

/* A function of its own, as nothing of it is needed as long as there are sockets. */
__attribute__((noinline)) int without_socket(struct xdp_md *ctx, const struct packet *packet, __u32 verdict)
{
	const struct balancing *settings;
	__u32 zero = 0;
	int action = XDP_DROP;

	if (!packet)
		return XDP_DROP;
	settings = bpf_map_lookup_elem(&balance_settings, &zero);
	if (settings && settings->until) {
		if (is_abandoned(settings)) {
			count(PASSED_FOREIGN);
			return XDP_PASS;
		}
		if (guard.way_out != NO_WAY && verdict == REDIRECTED_ARP)
			action = answer_arp(ctx, packet);
		else if (guard.way_out != NO_WAY && verdict == REDIRECTED_NEIGHBOUR)
			action = answer_solicitation(ctx, packet);
	}
	count(action == XDP_DROP ? DROPPED_NO_SOCKET : verdict);
	return action;
}

#endif
