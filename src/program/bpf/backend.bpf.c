/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * At a backend, before the kernel's IP sees a packet: what a balancer has put in front of it is taken off, so that the kernel gets the
 * client's packet for a virtual address and answers the client itself. Everything else is left as it is.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "decap.h"
#include "tally.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* By its name it is found again. */
SEC("tc")
int xskip_backend(struct __sk_buff *skb)
{
	enum verdict verdict = decap(skb);

	tally(verdict);
	/* Whatever is attached behind it has its say. */
	return verdict == DROPPED_CONGESTED || verdict == DROPPED_REFUSED ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
