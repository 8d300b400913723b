/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What is seen of a segment of a pair: src/core/splice/sight.rs and options.rs do the same. */
#ifndef XSKIP_SPLICE_SIGHT_H
#define XSKIP_SPLICE_SIGHT_H

#include "balance.h"
#include "cookie.h"
#include "rewrite.h"
#include "splice.h"

#define MAX_SACK_BLOCKS 4
/* What one call sums up at most. */
#define SPLICE_CHUNK 512
#define SPLICE_CHUNKS (65536 / SPLICE_CHUNK)

/* Where its parts are in the frame, and what becomes of two of its numbers. */
struct splice_sight {
	__u32 tcp;
	__u32 data;
	__u32 end;
	__u32 stamps; /* where TSval is, and TSecr behind it; 0 where there is none */
	__u32 sack;   /* where the first block is */
	__u32 blocks;
	__u32 number; /* what its sequence number becomes */
	__u32 window;
};

/* Where sums are taken: a program's stack has no room for it. */
struct splice_chunk {
	__u8 octets[SPLICE_CHUNK];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct splice_chunk);
} splice_chunks SEC(".maps");

/*
 * Looks through a list of options: where TSval is from its start, where SACK blocks are from bit 8 on, and how many from bit 16 on; -1
 * where it is malformed. 0 stands for none, as behind a kind and a length nothing is at 0.
 */
__attribute__((noinline)) int splice_options(struct xdp_md *ctx, __u32 start, __u32 length)
{
	const void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 at = 0, found = 0;

	if (!splicing)
		return -1;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		const __u8 *option;
		__u32 size, blocks;

		/* Anything that was found so far is like anything else to the verifier, or it would follow each of them. */
		at = (at + guard.zero) & MAX_OPTIONS_LENGTH;
		found = (found + guard.zero) & 0xffffff;
		if (at >= length)
			break;
		option = data + (start & MAX_OPTIONS_START) + at;
		if ((const void *)(option + 1) > data_end)
			return -1;
		if (*option == OPTION_END)
			break;
		if (*option == OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 1 >= length || (const void *)(option + 2) > data_end)
			return -1;
		size = option[1];
		if (size < 2 || at + size > length)
			return -1;
		if (*option == OPTION_TIMESTAMPS) {
			if (size != 10 || found & 0xff)
				return -1;
			found |= at + 2;
		} else if (*option == OPTION_SACK) {
			blocks = (size - 2) / 8;
			if (size != 2 + 8 * blocks || !blocks || blocks > MAX_SACK_BLOCKS || found >> 16)
				return -1;
			found |= (at + 2) << 8 | blocks << 16;
		}
		at += size;
	}
	return found;
}

/* The options as nearly every segment has them: none, or timestamps, or SACK blocks behind them. 0 for any other list. */
static __always_inline int read_splice_options(const __be32 *words, const void *data_end, struct splice_sight *sight)
{
	__u32 length = sight->data - sight->tcp - TCP_HEADER, size;

	if (!length)
		return 1;
	if (length < 12 || (const void *)(words + 3) > data_end || words[0] != bpf_htonl(0x0101080a))
		return 0;
	sight->stamps = sight->tcp + TCP_HEADER + 4;
	if (length == 12)
		return 1;
	if ((const void *)(words + 4) > data_end || (words[3] & bpf_htonl(0xffffff00)) != bpf_htonl(0x01010500))
		return 0;
	size = bpf_ntohl(words[3]) & 0xff;
	if (length < 24 || length != 14 + size || (length & 7))
		return 0;
	sight->sack = sight->tcp + TCP_HEADER + 16;
	sight->blocks = (length - 16) / 8;
	return 1;
}

/* Where the TCP header is and the packet ends; 0, or why it is not looked at further. */
static __always_inline int read_splice_bounds(struct xdp_md *ctx, const struct packet *packet, struct splice_sight *sight)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	void *header = data + (packet->ip_offset & MAX_IP_OFFSET);
	struct ethhdr *ethernet = data;
	__u32 header_len = sizeof(struct ipv6hdr), length;

	if ((void *)(ethernet + 1) > data_end || ethernet->h_source[0] & 1)
		return TO_THE_STACK;
	if (packet->is_ipv6) {
		struct ipv6hdr *ip = header;

		if ((void *)(ip + 1) > data_end || ip->version != 6)
			return DROPPED_SPLICE_MALFORMED;
		if (ip->nexthdr != IPPROTO_TCP)
			return TO_THE_STACK;
		length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	} else {
		struct iphdr *ip = header;

		if ((void *)(ip + 1) > data_end || ip->version != 4)
			return DROPPED_SPLICE_MALFORMED;
		header_len = ip->ihl * 4;
		length = bpf_ntohs(ip->tot_len);
	}
	sight->tcp = packet->ip_offset + header_len;
	sight->end = packet->ip_offset + length;
	if (header_len < sizeof(struct iphdr) || length < header_len + TCP_HEADER)
		return DROPPED_SPLICE_MALFORMED;
	/* Of a packet in several pieces only the first one is to be seen. */
	if (sight->end > data_end - data && sight->end > bpf_xdp_get_buff_len(ctx))
		return DROPPED_SPLICE_MALFORMED;
	return 0;
}

/* Looks at a segment: 0, a verdict, or TO_THE_STACK where it is no pair's whatever its ends say. */
__attribute__((noinline)) int splice_read(struct xdp_md *ctx, const struct packet *packet, struct splice_sight *sight)
{
	void *data, *data_end;
	struct tcphdr *tcp;
	int found;

	if (!splicing || !packet || !sight)
		return TO_THE_STACK;
	found = read_splice_bounds(ctx, packet, sight);
	if (found)
		return found;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	tcp = data + (sight->tcp & MAX_TRANSPORT_OFFSET);
	if ((void *)(tcp + 1) > data_end)
		return DROPPED_SPLICE_MALFORMED;
	sight->data = sight->tcp + tcp->doff * 4;
	if (tcp->doff < 5 || sight->data > sight->end)
		return DROPPED_SPLICE_MALFORMED;
	if (read_splice_options((const __be32 *)(tcp + 1), data_end, sight))
		return 0;
	found = splice_options(ctx, sight->tcp + TCP_HEADER, sight->data - sight->tcp - TCP_HEADER);
	if (found < 0)
		return DROPPED_SPLICE_MALFORMED;
	sight->stamps = found & 0xff ? sight->tcp + TCP_HEADER + (found & 0xff) : 0;
	sight->sack = sight->tcp + TCP_HEADER + (found >> 8 & 0xff);
	sight->blocks = found >> 16;
	return 0;
}

/* Sums up a segment: whether its checksum is right. Hardly any is asked that, so nothing is spared. */
__attribute__((noinline)) int splice_is_intact(struct xdp_md *ctx, __u32 at, __u32 length, __u32 pseudo)
{
	struct splice_chunk *chunk;
	__u32 zero = 0;
	__s64 sum = pseudo;
	__u64 size;

	if (!splicing)
		return 0;
	chunk = bpf_map_lookup_elem(&splice_chunks, &zero);
	if (!chunk)
		return 0;
	for (int i = 0; i < SPLICE_CHUNKS && length; i++) {
		at = at + guard.zero;
		length = length + guard.zero;
		size = length < SPLICE_CHUNK ? length : SPLICE_CHUNK;
		asm volatile("" : "+r"(size));
		size &= 2 * SPLICE_CHUNK - 1;
		if (!size || size > SPLICE_CHUNK)
			return 0;
		/* What follows an odd octet counts as 0; in a full one this is overwritten. */
		*(__u32 *)(chunk->octets + (size & (SPLICE_CHUNK - 4))) = 0;
		if (bpf_xdp_load_bytes(ctx, at, chunk->octets, size))
			return 0;
		at += size;
		length -= size;
		size = (size + 3) & (2 * SPLICE_CHUNK - 4);
		asm volatile("" : "+r"(size));
		if (size > SPLICE_CHUNK)
			return 0;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)chunk->octets, size, sum);
	}
	return !length && !fold((__u32)sum);
}

/* The sum of what a segment's checksum covers beside it. */
static __always_inline __u64 splice_pseudo(const struct packet *packet, __u32 length)
{
	__u64 sum = bpf_htons(IPPROTO_TCP) + (__u64)bpf_htons(length) + packet->addresses[0] + packet->addresses[1];

	if (!packet->is_ipv6)
		return sum;
#pragma unroll
	for (int i = 2; i < 8; i++)
		sum += packet->addresses[i];
	return sum;
}

#endif
