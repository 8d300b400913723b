/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
#ifndef XSKIP_ADDRESS_H
#define XSKIP_ADDRESS_H

#include <linux/types.h>

/* An IPv6 address, or an IPv4 address mapped into ::ffff:0:0/96, in network byte order. */
struct address {
	union {
		__u32 words[4];
		__u64 halves[2]; /* what is copied by halves is best written by halves: a load waits for narrower stores */
	};
};

#endif
