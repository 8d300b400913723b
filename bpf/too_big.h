/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Tells a sender that a packet is too big for the way to its backend (RFC 792, RFC 1191; RFC 4443 section 3.2): turns the packet into
 * that, in place. The VIP says it, because that is whom the sender knows.
 */
#ifndef XSKIP_TOO_BIG_H
#define XSKIP_TOO_BIG_H

#include "answer.h"
#include "budget.h"
#include "carry.h"
#include "decide.h"

#define FRAGMENTATION_NEEDED 4
#define PACKET_TOO_BIG 2
/* What is quoted: the longest IPv4 header and eight octets; a plain IPv6 header and twice as much as senders need. */
#define QUOTE_V4 68
#define QUOTE_V6 88

/* A message with its IP header, as far as it has no quote. */
struct too_big_v4 {
	struct iphdr ip;
	struct icmp_header icmp;
};

struct too_big_v6 {
	struct ipv6hdr ip;
	struct icmp_header icmp;
};

static __always_inline __u64 sum_quote(const __u32 *words, int count)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < count; i++)
		sum += words[i];
	return sum;
}

static __always_inline void write_too_big_v4(struct too_big_v4 *message, const struct packet *packet, __u32 mtu)
{
	const __u32 *words = (const void *)&message->ip, *quote = (const void *)(message + 1);

	write_plain_ipv4(&message->ip, 0, sizeof(*message) + QUOTE_V4, IPPROTO_ICMP, packet->addresses[1], packet->addresses[0]);
	message->icmp.type = UNREACHABLE;
	message->icmp.code = FRAGMENTATION_NEEDED;
	message->icmp.checksum = 0;
	message->icmp.field = bpf_htonl(mtu);
	message->icmp.checksum = fold((__u64)words[5] + words[6] + sum_quote(quote, QUOTE_V4 / 4));
}

static __always_inline void write_too_big_v6(struct too_big_v6 *message, const struct packet *packet, __u32 mtu)
{
	const __u32 *quote = (const void *)(message + 1);
	const __u32 length = sizeof(message->icmp) + QUOTE_V6;
	__u64 sum = bpf_htons(IPPROTO_ICMPV6) + bpf_htons(length);

	*(__be32 *)&message->ip = bpf_htonl(0x60000000);
	message->ip.payload_len = bpf_htons(length);
	message->ip.nexthdr = IPPROTO_ICMPV6;
	message->ip.hop_limit = TUNNEL_HOP_LIMIT;
	__builtin_memcpy(&message->ip.saddr, packet->addresses + 4, 16);
	__builtin_memcpy(&message->ip.daddr, packet->addresses, 16);
	message->icmp.type = PACKET_TOO_BIG;
	message->icmp.code = 0;
	message->icmp.checksum = 0;
	message->icmp.field = bpf_htonl(mtu);
#pragma unroll
	for (int i = 0; i < 8; i++)
		sum += packet->addresses[i];
	message->icmp.checksum = fold(sum + *(const __u32 *)&message->icmp + message->icmp.field + sum_quote(quote, QUOTE_V6 / 4));
}

/* Whether the sender of a packet may be told: it asked not to have it fragmented, and it is no error itself (RFC 1122 section 3.2.2). */
static __always_inline int may_be_told(struct xdp_md *ctx, const struct packet *packet)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + (packet->ip_offset & MAX_IP_OFFSET);

	if (packet->is_icmp || (void *)(ip + 1) > data_end)
		return 0;
	return packet->is_ipv6 || ip->frag_off & bpf_htons(IP_DONT_FRAGMENT);
}

/* The action, or -1 where the packet cannot be turned into a message. */
static __always_inline int tell_too_big(struct xdp_md *ctx, const struct packet *packet, __u32 mtu)
{
	__u32 header = packet->is_ipv6 ? sizeof(struct too_big_v6) : sizeof(struct too_big_v4);
	__u32 quote = packet->is_ipv6 ? QUOTE_V6 : QUOTE_V4;
	__u32 is_tagged = packet->ip_offset > ETHERNET_LEN, link_len = ETHERNET_LEN + (is_tagged ? 4 : 0);
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u8 link[ETHERNET_LEN + sizeof(struct vlan_tag)] = {};
	__u64 length = data_end - data;
	void *message;

	if (data + link_len + 4 > data_end || data + sizeof(link) > data_end || length < link_len + quote)
		return -1;
	__builtin_memcpy(link, data, sizeof(link));
	if (bpf_xdp_adjust_tail(ctx, (int)(link_len + quote) - (int)length) || bpf_xdp_adjust_head(ctx, -(int)header))
		return -1;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	message = data + link_len;
	if (data + sizeof(link) > data_end)
		return -1;
	if (packet->is_ipv6) {
		if (message + sizeof(struct too_big_v6) + QUOTE_V6 > data_end)
			return -1;
		__builtin_memcpy(data, link, sizeof(link));
		write_too_big_v6(message, packet, mtu);
	} else {
		if (message + sizeof(struct too_big_v4) + QUOTE_V4 > data_end)
			return -1;
		__builtin_memcpy(data, link, sizeof(link));
		write_too_big_v4(message, packet, mtu);
	}
	swap_macs(data);
	answer_to_station(data);
	return send_back(ctx, guard.way_out == BY_REDIRECT);
}

/* What becomes of a packet that is larger than its way: the outcome, with `action` set where its sender is told. */
static __always_inline enum outcome refuse_too_big(struct xdp_md *ctx, const struct packet *packet, __u32 budget, __u32 mtu, int *action)
{
	if (guard.way_out == NO_WAY || !may_be_told(ctx, packet) || !consume_budget(TOO_BIGS, budget, current_tick()))
		return HINDERED_TOO_BIG;
	*action = tell_too_big(ctx, packet, mtu);
	return *action < 0 ? HINDERED_TOO_BIG : TOLD_TOO_BIG;
}

#endif
