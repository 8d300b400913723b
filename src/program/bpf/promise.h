/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Whether a segment's numbers are a cookie that counts, and what the SYN-ACK has promised then. */
#ifndef XSKIP_PROMISE_H
#define XSKIP_PROMISE_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "cookie_layout.h"
#include "epochs.h"
#include "handover.h"
#include "kernel.h"
#include "segment.h"

/* The options that a cookie tells of, where they are kept. */
static __always_inline __u32 claimed_bits(const struct segment *segment, const struct timestamps *timestamps)
{
	if (timestamps->are_there)
		return WITH_TIMESTAMPS | (timestamps->echo & TIMESTAMP_OPTIONS);
	return (segment->acknowledged - 1) >> PROFILE_SHIFT & PROFILE;
}

/* Whether an epoch's key of one of the masters has made the numbers. */
static __always_inline int is_made_in(__u64 epoch, const struct segment *segment, const struct timestamps *timestamps)
{
	__u32 initial = segment->acknowledged - 1, bits = claimed_bits(segment, timestamps), found = 0;

	for (__u32 i = 0; i < MASTERS; i++) {
		const struct sip_key *key;
		struct cookie expected;
		__u64 mac;

		if (epoch > settings.masters[i].last_epoch)
			continue;
		key = key_of(i, epoch);
		if (!key)
			return 0;
		mac = mac_with(key, segment->flow.addresses, segment->flow.is_ipv6, segment->flow.ports,
			       bpf_htonl(segment->sequence - 1), bits);
		expected = make_cookie(mac, bits, epoch & 1);
		found |= !((expected.sequence ^ initial) | (timestamps->are_there ? expected.timestamp ^ timestamps->echo : 0));
	}
	return found;
}

/*
 * Whether it is the first segment of a client whose SYN was answered with a cookie. A function of its own and not static, so that the
 * verifier walks it once, and not once for each way to it.
 */
__attribute__((noinline)) int is_first(const struct segment *segment, const struct timestamps *timestamps)
{
	struct epochs epochs = counting_epochs();
	__u32 parity;
	int found = 0;

	if (!segment || !timestamps)
		return 0;
	parity = (segment->acknowledged - 1) >> PARITY_SHIFT;
	for (__u32 i = 0; i < KEYS; i++) {
		__u64 epoch = epochs.first + i;

		if (epoch <= epochs.last && (epoch & 1) == parity)
			found |= is_made_in(epoch, segment, timestamps);
	}
	return found;
}

static __always_inline void promise_of_profile(__u32 profile, int is_ipv6, struct bpf_tcp_req_attrs *attrs)
{
	/* No tables: clang puts what has 8 octets where libbpf of Debian 12 does not find it. */
	switch (profile) {
	case 0:
		attrs->mss = is_ipv6 ? 1220 : 536;
		break;
	case 1:
		attrs->mss = is_ipv6 ? 1420 : 1440;
		break;
	case 2:
		attrs->mss = is_ipv6 ? 1220 : 1300;
		attrs->snd_wscale = 7;
		break;
	default:
		attrs->mss = is_ipv6 ? 1440 : 1460;
		attrs->snd_wscale = 8;
	}
	attrs->sack_ok = attrs->wscale_ok = profile >= SCALED;
}

/* What both ends have agreed on. */
static __always_inline void promise_of(const struct segment *segment, const struct timestamps *timestamps,
				       struct bpf_tcp_req_attrs *attrs)
{
	__u32 bits = claimed_bits(segment, timestamps), scale = bits >> 16 & 15;

	attrs->rcv_wscale = HANDOVER_WINDOW_SCALE;
	if (!timestamps->are_there) {
		promise_of_profile(bits, segment->flow.is_ipv6, attrs);
		return;
	}
	attrs->tstamp_ok = 1;
	attrs->rcv_tsval = timestamps->value;
	attrs->rcv_tsecr = timestamps->echo;
	attrs->mss = bits;
	attrs->sack_ok = bits >> 20 & 1;
	attrs->ecn_ok = bits >> 21 & 1;
	attrs->wscale_ok = scale != NO_SCALE;
	attrs->snd_wscale = attrs->wscale_ok ? scale : 0;
}

#endif
