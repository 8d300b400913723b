/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef XSKIP_CHECKSUM_H
#define XSKIP_CHECKSUM_H

#include <linux/types.h>

/* The Internet checksum field (RFC 1071) of a sum of words of up to 32 bits. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

#endif
