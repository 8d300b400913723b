/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Turns a SYN into its SYN-ACK, in place: never longer than the SYN was, with nothing remembered. */
#ifndef XSKIP_ANSWER_H
#define XSKIP_ANSWER_H

#include <linux/tcp.h>

#include "checksum.h"
#include "cookie.h"
#include "reply.h"
#include "service.h"

#define FLAGS_SYN_ACK 0x12
#define MAX_HEADER_WORDS 15
/* A SYN with more data is not answered: to sum them up would cost more than all the rest. */
#define MAX_SYN_DATA 2048
#define MAX_DATA_START 0x7f /* behind a tag, IPv6, and the longest TCP header */

/* Words being written into the packet, and their sum. */
struct writer {
	__be32 *at;
	__u64 sum;
	__u32 overrun; /* whether one did not fit */
};

static __always_inline void append(struct writer *writer, const void *data_end, __be32 word)
{
	if ((void *)(writer->at + 1) > data_end) {
		writer->overrun = 1;
		return;
	}
	*writer->at = word;
	writer->at++;
	writer->sum += word;
}

/* Offers what the SYN offered and we have, laid out as it never takes more room than the SYN's own options did. */
static __always_inline void write_options(struct writer *writer, const void *data_end, const struct options *syn,
					  const struct service *listener, const struct cookie *cookie)
{
	if (syn->has_mss)
		append(writer, data_end, bpf_htonl(0x02040000 | listener->mss));
	if (syn->sack && listener->sack && !syn->has_timestamps)
		append(writer, data_end, bpf_htonl(0x01010402));
	if (syn->has_timestamps) {
		append(writer, data_end, bpf_htonl(syn->sack && listener->sack ? 0x0402080a : 0x0101080a));
		append(writer, data_end, bpf_htonl(cookie->timestamp));
		append(writer, data_end, syn->timestamp);
	}
	if (syn->scale != NO_SCALE)
		append(writer, data_end, bpf_htonl(0x01030300 | listener->window_scale));
}

/* Writes the IP header of the way back, and returns the sum of the TCP pseudo-header. */
static __always_inline __u64 write_ip(void *ip_header, const void *data_end, const struct packet *packet,
				      const struct service *listener, __u32 tcp_len)
{
	const __u32 *address = packet->addresses;
	__u64 sum = bpf_htons(IPPROTO_TCP) + (__u64)bpf_htons(tcp_len);

	if (packet->is_ipv6) {
		struct ipv6hdr *ip = ip_header;

		if ((void *)(ip + 1) > data_end)
			return 0;
		*(__be32 *)ip = bpf_htonl(0x60000000 | listener->traffic_class << 20);
		ip->payload_len = bpf_htons(tcp_len);
		ip->hop_limit = listener->hop_limit;
		__builtin_memcpy(&ip->saddr, address + 4, 16);
		__builtin_memcpy(&ip->daddr, address, 16);
#pragma unroll
		for (int i = 0; i < 8; i++)
			sum += address[i];
	} else {
		struct iphdr *ip = ip_header;
		__u64 header_sum;

		if ((void *)(ip + 1) > data_end)
			return 0;
		ip->tos = listener->traffic_class;
		ip->tot_len = bpf_htons(sizeof(*ip) + tcp_len);
		ip->id = 0;
		ip->frag_off = bpf_htons(IP_DONT_FRAGMENT);
		ip->ttl = listener->hop_limit;
		ip->saddr = address[1];
		ip->daddr = address[0];
		sum += (__u64)address[0] + address[1];
		header_sum = (__u64)address[0] + address[1] + bpf_htons(0x4500 | listener->traffic_class) + ip->tot_len + ip->frag_off +
			     bpf_htons(listener->hop_limit << 8 | IPPROTO_TCP);
		ip->check = fold(header_sum);
	}
	return sum;
}

/*
 * The sum, folded, of so many octets of data that begin `start` bytes into the frame; what follows the last of them counts as
 * noughts. A function of its own, like `walk_options`.
 */
__attribute__((noinline)) int sum_data(struct xdp_md *ctx, __u32 start, __u32 length)
{
	const void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	const __u8 *octet;
	__u64 sum = 0;
	__u32 at = 0;

	for (int i = 0; i < MAX_SYN_DATA / 16; i++) {
		const __u32 *words;

		at = (at + guard.zero) & (2 * MAX_SYN_DATA - 1);
		words = data + (start & MAX_DATA_START) + at;
		if (at + 16 > length || (const void *)(words + 4) > data_end)
			break;
		sum += (__u64)words[0] + words[1] + words[2] + words[3];
		at += 16;
	}
	for (int i = 0; i < 15; i++) {
		at &= 2 * MAX_SYN_DATA - 1;
		octet = data + (start & MAX_DATA_START) + at;
		if (at >= length || (const void *)(octet + 1) > data_end)
			break;
		sum += (__u32)*octet << 8 * (i % 4);
		at++;
	}
	return (__u16)~fold(sum);
}

/* What a SYN's checksums are, and its answer's are to be. */
enum checksums {
	CHECKSUMS_WRONG,
	CHECKSUMS_WHOLE,
	CHECKSUMS_UNFINISHED, /* that of TCP, in either */
};

/*
 * Whether the checksums of a SYN add up, as far as they are to be believed: a veth's kernel peer leaves the TCP one at the sum
 * of the pseudo-header, and so does this kernel in its own packets. Data, which a SYN hardly ever has, are not answered for, but
 * they must be what was sent.
 */
static __always_inline enum checksums checksums_of(struct xdp_md *ctx, const struct packet *packet, const struct tcphdr *tcp,
				   const void *ip_header)
{
	const void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	const __u32 *ip = ip_header, *words = (const void *)tcp;
	__u64 pseudo = bpf_htons(IPPROTO_TCP), sum = 0;
	__u32 header_len = tcp->doff * 4, length, is_unfinished;

	if ((const void *)(ip + 5) > data_end)
		return CHECKSUMS_WRONG;
	if (packet->is_ipv6) {
		length = bpf_ntohs(((const __u16 *)ip)[2]);
#pragma unroll
		for (int i = 0; i < 8; i++)
			pseudo += packet->addresses[i];
	} else {
		length = bpf_ntohs(((const __u16 *)ip)[1]) - sizeof(struct iphdr);
		pseudo += (__u64)packet->addresses[0] + packet->addresses[1];
		if (fold((__u64)ip[0] + ip[1] + ip[2] + ip[3] + ip[4]))
			return CHECKSUMS_WRONG;
	}
	if (*(const __u8 *)ip >> 4 != (packet->is_ipv6 ? 6 : 4) || length < header_len ||
	    length > (__u64)(data_end - data) - packet->tcp_offset)
		return CHECKSUMS_WRONG;
	pseudo += bpf_htons(length);
	is_unfinished = guard.unfinished != REFUSED && (__u16)~fold(pseudo) == tcp->check;
	if (is_unfinished && guard.unfinished == TAKEN)
		return CHECKSUMS_WHOLE;
	if (length > header_len) {
		if (length - header_len > MAX_SYN_DATA)
			return CHECKSUMS_WRONG;
		sum = sum_data(ctx, packet->tcp_offset + header_len, length - header_len);
	}
#pragma unroll
	for (int i = 0; i < MAX_HEADER_WORDS; i++) {
		if (i >= tcp->doff)
			break;
		if ((const void *)(words + i + 1) > data_end)
			return CHECKSUMS_WRONG;
		sum += words[i];
	}
	/* A whole one that looks unfinished, one in 65,536, counts as whole: nobody would finish its answer. */
	if (!fold(sum + pseudo))
		return CHECKSUMS_WHOLE;
	return is_unfinished ? CHECKSUMS_UNFINISHED : CHECKSUMS_WRONG;
}

/* Behind a director answers go to the router, and not to where a frame came from. */
static __always_inline void answer_to_station(struct ethhdr *ethernet)
{
	__u32 head = guard.answers_head, tail = guard.answers_tail;

	if (!tail)
		return;
	__builtin_memcpy(ethernet->h_dest, &head, 4);
	__builtin_memcpy(ethernet->h_dest + 4, &tail, 2);
}

/*
 * Leaves of a SYN's options what backends have as well, so that its cookie holds what is promised; 0 where no backend could take the
 * handshake over. A function of its own: behind it the verifier knows nothing of the options, and so has one way to follow, not many.
 */
__attribute__((noinline)) int promise(struct options *options, __u32 promises, __u32 is_ipv6)
{
	if (!options)
		return 0;
	if (!(promises & PROMISES_TIMESTAMPS))
		options->has_timestamps = 0;
	if (!(promises & PROMISES_SACK))
		options->sack = 0;
	if (!(promises & PROMISES_SCALE))
		options->scale = NO_SCALE;
	return !options->has_mss || options->mss >= (is_ipv6 ? DEFAULT_MSS_V6 : DEFAULT_MSS_V4);
}

/*
 * The action, or -1 where the SYN cannot be answered. A function of its own, like `walk_options`: it is most of the program, and
 * the verifier would walk it for each way to get here.
 */
__attribute__((noinline)) int answer_syn(struct xdp_md *ctx, const struct packet *packet, const struct service *listener)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp;
	struct ethhdr *ethernet = data;
	struct options options = {};
	struct writer writer = {};
	struct cookie cookie;
	__u32 bits, tcp_len, length;
	__be32 *words;
	__u64 pseudo;
	enum checksums checksums;

	if (!packet || !listener)
		return -1;
	tcp = data + (packet->tcp_offset & MAX_TCP_OFFSET);
	words = (__be32 *)tcp;
	if ((void *)(ethernet + 1) > data_end || (void *)(tcp + 1) > data_end || tcp->doff < 5)
		return -1;
	checksums = checksums_of(ctx, packet, tcp, data + (packet->ip_offset & MAX_IP_OFFSET));
	if (checksums == CHECKSUMS_WRONG)
		return -1;
	if (!read_options(ctx, packet, tcp, &options))
		return -1;
	if (!is_listener(listener) && !promise(&options, listener->promises, packet->is_ipv6))
		return -1;
	bits = option_bits(&options, packet->is_ipv6);
	if (bits == NO_PROFILE)
		return -1;
	cookie = make_cookie(cookie_mac(packet, tcp->seq, bits, guard.epoch), bits, guard.epoch & 1);
	keep_promises(&options, bits);

	writer.at = (__be32 *)(tcp + 1);
	write_options(&writer, data_end, &options, listener, &cookie);
	if (writer.overrun)
		return -1;
	tcp_len = TCP_HEADER_LEN + (options.has_mss ? 4 : 0) + (options.has_timestamps ? 12 : options.sack && listener->sack ? 4 : 0) +
		  (options.scale != NO_SCALE ? 4 : 0);
	pseudo = write_ip(data + (packet->ip_offset & MAX_IP_OFFSET), data_end, packet, listener, tcp_len);
	words[0] = packet->ports << 16 | packet->ports >> 16;
	words[2] = bpf_htonl(bpf_ntohl(words[1]) + 1);
	words[1] = bpf_htonl(cookie.sequence);
	words[3] = bpf_htonl((tcp_len / 4) << 28 | FLAGS_SYN_ACK << 16 | listener->window);
	words[4] = 0;
#pragma unroll
	for (int i = 0; i < 4; i++)
		writer.sum += words[i];
	tcp->check = checksums == CHECKSUMS_UNFINISHED ? ~fold(pseudo) : fold(writer.sum + pseudo);
	swap_macs(ethernet);
	answer_to_station(ethernet);
	length = data_end - data;
	if (length != packet->tcp_offset + tcp_len &&
	    bpf_xdp_adjust_tail(ctx, (int)(packet->tcp_offset + tcp_len) - (int)length))
		return -1;
	return send_back(ctx, guard.way_out == BY_REDIRECT);
}

#endif
