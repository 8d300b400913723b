/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The numbers of a SYN cookie, for whoever makes one or checks one: src/core/tcp/cookie.rs explains them. */
#ifndef XSKIP_COOKIE_LAYOUT_H
#define XSKIP_COOKIE_LAYOUT_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "siphash.h"

#define PARITY_SHIFT 31
#define WITH_TIMESTAMPS (1U << 31)
#define NO_SCALE 15
#define TIMESTAMP_OPTIONS ((1U << 22) - 1)
#define PROFILE_SHIFT 29
#define PROFILE 3
#define PROFILE_MAC ((1U << PROFILE_SHIFT) - 1)
#define SCALED 2 /* the profiles from here on have SACK and a window scale */

struct cookie {
	__u32 sequence;
	__u32 timestamp;
};

/*
 * The MAC over what stands in a client's packet, octet for octet: source and destination address, one behind the other, ports,
 * sequence number; and over the options.
 */
static __always_inline __u64 mac_with(const volatile struct sip_key *key, const __u32 *addresses, int is_ipv6, __u32 ports,
				      __be32 sequence, __u32 bits)
{
	struct sip_state s;

	sip_begin(&s, key);
#pragma unroll
	for (int i = 0; i < 8; i += 2) {
		if (i == 0 || is_ipv6)
			sip_absorb(&s, addresses[i] | (__u64)addresses[i + 1] << 32, 2);
	}
	sip_absorb(&s, ports | (__u64)sequence << 32, 2);
	return sip_end(&s, bits, is_ipv6 ? 44 : 20, 2, 4);
}

static __always_inline struct cookie make_cookie(__u64 mac, __u32 bits, __u32 parity)
{
	struct cookie cookie = { .sequence = parity << PARITY_SHIFT };

	if (bits & WITH_TIMESTAMPS) {
		cookie.sequence |= (__u32)mac & ~(1U << PARITY_SHIFT);
		cookie.timestamp = (__u32)(mac >> 32) << 22 | (bits & TIMESTAMP_OPTIONS);
	} else {
		cookie.sequence |= bits << PROFILE_SHIFT | ((__u32)mac & PROFILE_MAC);
	}
	return cookie;
}

#endif
