/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Where the program stands on the link. */
#ifndef XSKIP_PLACE_H
#define XSKIP_PLACE_H

#include <linux/types.h>

#include <bpf/bpf_endian.h>

#define VLAN_ID 0xfff

/* What the program is told before it is loaded. */
struct place {
	__u64 vlan; /* the VLAN that is served; 0 for untagged frames */
};

const volatile struct place place = {};

/*
 * Whether a tag names the VLAN that is served. VLAN 0 is none: such a tag says a priority only, and the frame counts as untagged
 * (IEEE 802.1Q section 9.6).
 */
static __always_inline int is_of_our_vlan(__be16 control)
{
	return (bpf_ntohs(control) & VLAN_ID) == place.vlan;
}

#endif
