/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Answers every TCP SYN for port 80 by a SYN-ACK that means nothing: no cookie, no look-up, no memory. Nothing that answers
 * at all does less, so it shows how many answers a machine can give. Everything else is the kernel's.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "checksum.h"
#include "reply.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define PORT 80
#define SEQUENCE 0x5eed5eed
#define PLAIN_IPV4 0x45        /* the version, and a header without options */
#define IPV4_FRAGMENT 0x3fff   /* more fragments, or an offset */
#define JUDGED_FLAGS 0x00170000 /* ACK, RST, SYN and FIN, in the word that has them */
#define SYN 0x00020000
#define SYN_ACK 0x00120000

/* Words of the TCP header. */
#define AT_SEQUENCE 1
#define AT_ACKNOWLEDGMENT 2
#define AT_FLAGS 3

/* The verb: as in the guard's answers. Set before loading. */
const volatile __u32 use_redirect = 0;

/* Makes a SYN for the port a SYN-ACK, ports included. Its checksum follows from what is changed. */
static __always_inline int turn(struct tcphdr *tcp, const void *data_end)
{
	__be32 *words = (__be32 *)tcp, sequence, acknowledgment, flags;
	__u64 sum;

	if ((void *)(tcp + 1) > data_end || tcp->dest != bpf_htons(PORT))
		return 0;
	if ((words[AT_FLAGS] & bpf_htonl(JUDGED_FLAGS)) != bpf_htonl(SYN))
		return 0;
	sequence = bpf_htonl(SEQUENCE);
	acknowledgment = bpf_htonl(bpf_ntohl(words[AT_SEQUENCE]) + 1);
	flags = words[AT_FLAGS] | bpf_htonl(SYN_ACK);
	/* RFC 1624, equation 3; to swap two words of a sum does not change it. */
	sum = (__u16)~tcp->check;
	sum += (__u32)~words[AT_SEQUENCE] + (__u64)sequence;
	sum += (__u32)~words[AT_ACKNOWLEDGMENT] + (__u64)acknowledgment;
	sum += (__u32)~words[AT_FLAGS] + (__u64)flags;
	words[0] = words[0] << 16 | words[0] >> 16;
	words[AT_SEQUENCE] = sequence;
	words[AT_ACKNOWLEDGMENT] = acknowledgment;
	words[AT_FLAGS] = flags;
	tcp->check = fold(sum);
	return 1;
}

static __always_inline int turn_ipv4(struct iphdr *ip, const void *data_end)
{
	__be32 source;

	if ((void *)(ip + 1) > data_end || *(__u8 *)ip != PLAIN_IPV4 || ip->protocol != IPPROTO_TCP)
		return 0;
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT) || !turn((struct tcphdr *)(ip + 1), data_end))
		return 0;
	source = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = source;
	return 1;
}

static __always_inline int turn_ipv6(struct ipv6hdr *ip, const void *data_end)
{
	struct in6_addr source;

	if ((void *)(ip + 1) > data_end || ip->nexthdr != IPPROTO_TCP || !turn((struct tcphdr *)(ip + 1), data_end))
		return 0;
	source = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = source;
	return 1;
}

SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	int turned = 0;

	if ((void *)(ethernet + 1) > data_end)
		return XDP_PASS;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		turned = turn_ipv4((void *)(ethernet + 1), data_end);
	else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		turned = turn_ipv6((void *)(ethernet + 1), data_end);
	if (!turned)
		return XDP_PASS;
	swap_macs(ethernet);
	return send_back(ctx, use_redirect);
}
