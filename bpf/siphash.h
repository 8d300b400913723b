/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* SipHash (Aumasson and Bernstein 2012), for messages that are whole words of 8 bytes, or end in one of 4. */
#ifndef XSKIP_SIPHASH_H
#define XSKIP_SIPHASH_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

struct sip_key {
	__u64 low;
	__u64 high;
};

struct sip_state {
	__u64 v0;
	__u64 v1;
	__u64 v2;
	__u64 v3;
};

static __always_inline __u64 rotate_left(__u64 word, __u32 by)
{
	return word << by | word >> (64 - by);
}

static __always_inline void sip_round(struct sip_state *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left(s->v2, 32);
}

static __always_inline void sip_begin(struct sip_state *s, const volatile struct sip_key *key)
{
	__u64 low = key->low, high = key->high;

	s->v0 = low ^ 0x736f6d6570736575ULL;
	s->v1 = high ^ 0x646f72616e646f6dULL;
	s->v2 = low ^ 0x6c7967656e657261ULL;
	s->v3 = high ^ 0x7465646279746573ULL;
}

/* The rounds are SipHash's parameters: 2 and 4, or 1 and 3. */
static __always_inline void sip_absorb(struct sip_state *s, __u64 word, int rounds)
{
	s->v3 ^= word;
#pragma unroll
	for (int i = 0; i < rounds; i++)
		sip_round(s);
	s->v0 ^= word;
}

/* A digest of 128 bits begins and ends a little differently: this follows sip_begin(). */
static __always_inline void sip_widen(struct sip_state *s)
{
	s->v1 ^= 0xee;
}

/* As sip_end(), for 128 bits of SipHash-2-4. */
static __always_inline struct sip_key sip_end_wide(struct sip_state *s, __u64 rest, __u32 length)
{
	struct sip_key digest;

	sip_absorb(s, rest | (__u64)length << 56, 2);
	s->v2 ^= 0xee;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_round(s);
	digest.low = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
	s->v1 ^= 0xdd;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_round(s);
	digest.high = s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
	return digest;
}

/* `rest` is what follows the last whole word, less than 8 bytes; `length` the message's, in bytes. */
static __always_inline __u64 sip_end(struct sip_state *s, __u64 rest, __u32 length, int rounds, int last_rounds)
{
	sip_absorb(s, rest | (__u64)length << 56, rounds);
	s->v2 ^= 0xff;
#pragma unroll
	for (int i = 0; i < last_rounds; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

#endif
