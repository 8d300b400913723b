/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Ends that a SYN cannot have if it is to be answered. */
#ifndef XSKIP_ENDS_H
#define XSKIP_ENDS_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "guard.h"
#include "parse.h"
#include "service.h"

/* Whether no answer can reach a source address (RFC 9293 MUST-63): as src/core/wire/ipv4.rs has it. */
static __always_inline int is_unreachable_v4(__be32 source)
{
	__u32 first = bpf_ntohl(source) >> 24;

	return first == 0 || first == 127 || first - 224 < 16 || source == ~0U;
}

/* Likewise, as src/core/wire/ipv6.rs has it, with the unspecified address. */
static __always_inline int is_unreachable_v6(const __u32 *source)
{
	if (source[0] | source[1])
		return (bpf_ntohl(source[0]) >> 24) == 0xff;
	return source[2] == bpf_htonl(0xffff) || (!source[2] && (!source[3] || source[3] == bpf_htonl(1)));
}

/* Whether a source address is one of ours, or goes to a whole subnet. Nearly every other one differs in its last octet. */
static __always_inline int is_impossible(const struct packet *packet)
{
	struct address source = {};

	if (!(guard.suspects >> (packet->addresses[packet->is_ipv6 ? 3 : 0] >> 24 & 63) & 1))
		return 0;
	if (packet->is_ipv6)
		__builtin_memcpy(&source, packet->addresses, sizeof(source));
	else
		map_ipv4(&source, packet->addresses[0]);
	return !!find_slot(&source, 0, FROM_ADDRESS);
}

/*
 * Whether a segment may be answered as far as its ends go: what src/core/stack/intake.rs asks of one, in `check_source` and
 * `check_ends`, and the parser before that. What is addressed to one of our listeners is at a unicast address already.
 */
static __always_inline int has_possible_ends(const struct packet *packet, const struct ethhdr *ethernet)
{
	const __be16 *ports = (const __be16 *)&packet->ports;

	/* MUST-57: not to a group; nor to another station, whose address the answer would come from; nor from a group. */
	if (*(const __u32 *)ethernet->h_dest != guard.mac_head ||
	    *(const __u16 *)(ethernet->h_dest + sizeof(__u32)) != guard.mac_tail || (ethernet->h_source[0] & 1))
		return 0;
	if (!ports[0])
		return 0;
	return !(packet->is_ipv6 ? is_unreachable_v6(packet->addresses) : is_unreachable_v4(packet->addresses[0])) &&
	       !is_impossible(packet);
}

#endif
