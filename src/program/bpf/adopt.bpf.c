/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The backend's program of backend.bpf.c for hosts that take over handshakes which a balancer has answered by SYN cookies. One of its
 * own, because it wants of the kernel what the other one does without: its BTF, and the function that adopts connections.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "adopt.h"
#include "decap.h"
#include "tally.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* By its name it is found again. */
SEC("tc")
int xskip_backend(struct __sk_buff *skb)
{
	enum verdict verdict = decap(skb);

	tally(verdict);
	if (verdict == DROPPED_CONGESTED || verdict == DROPPED_REFUSED)
		return TC_ACT_SHOT;
	return take_over(skb);
}
