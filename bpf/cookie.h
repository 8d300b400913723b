/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* SYN cookies: made and checked as src/core/tcp/cookie.rs does, which explains the layout. */
#ifndef XSKIP_COOKIE_H
#define XSKIP_COOKIE_H

#include "cookie_layout.h"
#include "guard.h"

#define MAX_SCALE 14
#define NO_PROFILE (~0U)

#define DEFAULT_MSS_V4 536
#define DEFAULT_MSS_V6 1220

/* An option list has 40 bytes; that many single ones are the most it can hold. */
#define MAX_OPTIONS 40
#define MAX_OPTIONS_LENGTH 0x3f
#define MAX_OPTIONS_START 0x7f
#define TCP_HEADER_LEN 20

enum {
	OPTION_END,
	OPTION_NOP,
	OPTION_MSS,
	OPTION_SCALE,
	OPTION_SACK_PERMITTED,
	OPTION_SACK,
	OPTION_TIMESTAMPS = 8,
};

/* What a segment's options say. */
struct options {
	__u32 has_mss;
	__u32 mss;
	__u32 scale; /* NO_SCALE for none */
	__u32 sack;
	__u32 has_timestamps;
	__be32 timestamp;
	__be32 echo;
};

/*
 * The option lists of nearly every SYN, as Linux, Windows and macOS lay them out, and of nearly every segment after it; 0 for
 * any other. Saves half of what it takes to walk them.
 */
static __always_inline int read_usual_options(const __be32 *words, const void *data_end, __u32 length,
					      struct options *options)
{
	if ((const void *)(words + 3) <= data_end && length == 12 && words[0] == bpf_htonl(0x0101080a)) {
		options->has_timestamps = 1;
		options->timestamp = words[1];
		options->echo = words[2];
		options->scale = NO_SCALE;
		return 1;
	}
	if ((const void *)(words + 1) > data_end || (words[0] & bpf_htonl(0xffff0000)) != bpf_htonl(0x02040000))
		return 0;
	options->has_mss = 1;
	options->mss = bpf_ntohl(words[0]) & 0xffff;
	if ((const void *)(words + 5) <= data_end && length == 20 && words[1] == bpf_htonl(0x0402080a) &&
	    (words[4] & bpf_htonl(0xffffff00)) == bpf_htonl(0x01030300)) {
		options->scale = bpf_ntohl(words[4]) & 0xff;
		options->timestamp = words[2];
		options->echo = words[3];
		options->has_timestamps = 1;
	} else if ((const void *)(words + 3) <= data_end && length == 12 && words[2] == bpf_htonl(0x01010402) &&
		   (words[1] & bpf_htonl(0xffffff00)) == bpf_htonl(0x01030300)) {
		options->scale = bpf_ntohl(words[1]) & 0xff;
	} else if ((const void *)(words + 6) <= data_end && length == 24 && words[2] == bpf_htonl(0x0101080a) &&
		   words[5] == bpf_htonl(0x04020000) && (words[1] & bpf_htonl(0xffffff00)) == bpf_htonl(0x01030300)) {
		options->scale = bpf_ntohl(words[1]) & 0xff;
		options->timestamp = words[3];
		options->echo = words[4];
		options->has_timestamps = 1;
	} else {
		return 0;
	}
	options->sack = 1;
	if (options->scale > MAX_SCALE)
		options->scale = MAX_SCALE;
	return 1;
}

/*
 * Reads the option list that begins `start` bytes into the frame and takes `length`; 0 where it breaks a rule.
 *
 * A function of its own and not inlined, so that the verifier walks the loop once, and not once for each way to it.
 */
__attribute__((noinline)) int walk_options(struct xdp_md *ctx, __u32 start, __u32 length, struct options *options)
{
	const void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 at = 0;

	if (!options)
		return 0;
	__builtin_memset(options, 0, sizeof(*options));
	options->scale = NO_SCALE;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		const __u8 *option;
		__u32 size;

		/* Any position is like any other to the verifier, or it would follow each of them. */
		at = (at + guard.zero) & MAX_OPTIONS_LENGTH;
		option = data + (start & MAX_OPTIONS_START) + at;

		if (at >= length)
			return 1;
		if ((void *)(option + 1) > data_end)
			return 0;
		if (*option == OPTION_END)
			return 1;
		if (*option == OPTION_NOP) {
			at++;
			continue;
		}
		if ((void *)(option + 2) > data_end)
			return 0;
		size = option[1];
		if (size < 2 || at + size > length)
			return 0;
		if (*option == OPTION_MSS) {
			if (size != 4 || (void *)(option + 4) > data_end)
				return 0;
			options->has_mss = 1;
			options->mss = option[2] << 8 | option[3];
		} else if (*option == OPTION_SCALE) {
			if (size != 3 || (void *)(option + 3) > data_end)
				return 0;
			options->scale = option[2] > MAX_SCALE ? MAX_SCALE : option[2];
		} else if (*option == OPTION_SACK_PERMITTED) {
			if (size != 2)
				return 0;
			options->sack = 1;
		} else if (*option == OPTION_SACK) {
			if (size == 2 || (size - 2) % 8)
				return 0;
		} else if (*option == OPTION_TIMESTAMPS) {
			if (size != 10 || (void *)(option + 10) > data_end)
				return 0;
			options->has_timestamps = 1;
			__builtin_memcpy(&options->timestamp, option + 2, 4);
			__builtin_memcpy(&options->echo, option + 6, 4);
		}
		at += size;
	}
	return 1;
}

/* Reads the options behind a TCP header; 0 where they break a rule, or are cut off. */
static __always_inline int read_options(struct xdp_md *ctx, const struct packet *packet, const struct tcphdr *tcp,
					struct options *options)
{
	__u32 length = tcp->doff * 4 - TCP_HEADER_LEN;

	if (tcp->doff < 5 || (const void *)tcp + tcp->doff * 4 > (const void *)(long)ctx->data_end)
		return 0;
	if (read_usual_options((const __be32 *)(tcp + 1), (void *)(long)ctx->data_end, length, options))
		return 1;
	return walk_options(ctx, packet->tcp_offset + TCP_HEADER_LEN, length, options);
}

/*
 * What a cookie remembers of a SYN without timestamps: the best of four profiles that promise nothing it has not offered. SACK
 * goes with scaling, and a scale is taken for a smaller one.
 */
static __always_inline __u32 profile(__u32 mss, __u32 scale, __u32 sack, int is_ipv6)
{
	if (sack && scale != NO_SCALE) {
		if (scale >= 8 && mss >= (is_ipv6 ? 1440 : 1460))
			return 3;
		if (scale >= 7 && mss >= (is_ipv6 ? 1220 : 1300))
			return 2;
	}
	if (mss >= (is_ipv6 ? 1420 : 1440))
		return 1;
	return mss >= (is_ipv6 ? 1220 : 536) ? 0 : NO_PROFILE;
}

/* The options as the MAC covers them; NO_PROFILE where no cookie can hold them. */
static __always_inline __u32 option_bits(const struct options *options, int is_ipv6)
{
	__u32 mss = options->has_mss ? options->mss : is_ipv6 ? DEFAULT_MSS_V6 : DEFAULT_MSS_V4;

	if (options->has_timestamps)
		return WITH_TIMESTAMPS | options->sack << 20 | options->scale << 16 | mss;
	return profile(mss, options->scale, options->sack, is_ipv6);
}

/* Forgets of a SYN's options what its cookie does not hold, so that the answer promises none of it. */
static __always_inline void keep_promises(struct options *options, __u32 bits)
{
	if (bits & WITH_TIMESTAMPS || bits >= SCALED)
		return;
	options->sack = 0;
	options->scale = NO_SCALE;
}

static __always_inline __u64 cookie_mac(const struct packet *packet, __be32 sequence, __u32 bits, __u32 epoch)
{
	return mac_with(&guard.keys[epoch % EPOCH_KEYS], packet->addresses, packet->is_ipv6, packet->ports, sequence, bits);
}

/* Whether an acknowledgment's numbers are a cookie of an epoch that counts: this one, the last, or at the end of this one the next. */
static __always_inline int is_cookie(const struct packet *packet, __u32 sequence, __u32 acknowledged,
				     const struct options *options)
{
	__u32 initial = acknowledged - 1, parity = initial >> PARITY_SHIFT, epoch = guard.epoch, end = epoch + 1;
	__u32 echo = bpf_ntohl(options->echo), bits, found = 0;

	bits = options->has_timestamps ? WITH_TIMESTAMPS | (echo & TIMESTAMP_OPTIONS) : (initial >> PROFILE_SHIFT & PROFILE);
	/* The last epoch and the next have the other parity. */
	if ((epoch & 1) != parity) {
		epoch += guard.short_grace ? 1 : -1;
		end += guard.next_epoch ? 1 : 0;
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < 2; i++, epoch += 2) {
		struct cookie expected;

		if ((__s32)(end - epoch) <= 0)
			break;
		expected = make_cookie(cookie_mac(packet, bpf_htonl(sequence - 1), bits, epoch), bits, parity);
		found |= !((expected.sequence ^ initial) | (options->has_timestamps ? expected.timestamp ^ echo : 0));
	}
	return found;
}

#endif
