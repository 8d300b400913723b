/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Sends a frame back where it came from. */
#ifndef XSKIP_REPLY_H
#define XSKIP_REPLY_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

static __always_inline void swap_macs(struct ethhdr *ethernet)
{
	__u8 source[ETH_ALEN];

	__builtin_memcpy(source, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, source, ETH_ALEN);
}

/* The action that sends the frame out of the interface it came in by. */
static __always_inline int send_back(const struct xdp_md *ctx, __u32 use_redirect)
{
	return use_redirect ? bpf_redirect(ctx->ingress_ifindex, 0) : XDP_TX;
}

#endif
