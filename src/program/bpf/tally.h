/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What becomes of a packet at a backend, and how often that was so. */
#ifndef XSKIP_TALLY_H
#define XSKIP_TALLY_H

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* Indices into `tallies`. What is passed goes on to the kernel as it came: a tunnel of the kernel's own may want it. */
enum verdict {
	/* The outer headers were taken off. In this order: GUE is a bit, so is the outer IPv6, and so the inner. */
	IPIP_4IN4,
	IPIP_6IN4,
	IPIP_4IN6,
	IPIP_6IN6,
	GUE_4IN4,
	GUE_6IN4,
	GUE_4IN6,
	GUE_6IN6,
	PASSED_PLAIN,     /* no tunnel's */
	PASSED_ADDRESS,   /* a tunnel's, but not to an address that tunnels end at */
	PASSED_SENDER,    /* nobody we take anything from */
	PASSED_FRAGMENT,  /* a part only: the kernel puts it together, behind us */
	PASSED_OPTIONS,   /* IP options or extension headers outside */
	PASSED_VARIANT,   /* of GUE, with a header of its own */
	PASSED_MALFORMED, /* lengths or versions that do not agree, or a wrong checksum */
	PASSED_MERGED,    /* several datagrams of GUE in one, by a receive offload */
	PASSED_VIP,       /* what is inside is for none of the virtual addresses */
	DROPPED_CONGESTED, /* congestion was experienced outside by what cannot say so inside (RFC 6040 section 4.2) */
	DROPPED_REFUSED,  /* the kernel would not take the headers off */
	/* Handshakes that a balancer has answered, counted beside what is above. */
	ADOPTED,             /* the kernel has taken one over */
	REQUEUED,            /* sent round once, behind the segment that opens its connection */
	REPLACED_TIME_WAIT,  /* a TIME-WAIT of the same addresses and ports ended for one */
	REPLACED_STALE,      /* a connection that its client has forgotten, likewise */
	REPLACED_REQUEST,    /* a handshake that the kernel itself had answered, likewise */
	PASSED_USED,         /* one that has opened its connection already: the kernel answers what is left of it */
	PASSED_OWN_COOKIE,   /* to a listener, with a cookie of the kernel's own */
	PASSED_STRAY,        /* to a listener, with no cookie that counts, for seconds: the kernel resets it */
	DROPPED_COOKIE,      /* to a listener, with no cookie that counts */
	REFUSED_ADOPTION,    /* the kernel would not take it over: `last_refusal` says why */
	VERDICTS,
	UNDECIDED, /* of none of them so far */
};

#define TAKEN_GUE 4
#define TAKEN_OUTER_IPV6 2
#define TAKEN_INNER_IPV6 1

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} tallies SEC(".maps");

static __always_inline void tally(__u32 verdict)
{
	__u64 *counter = bpf_map_lookup_elem(&tallies, &verdict);

	if (counter)
		*counter += 1;
}

#endif
